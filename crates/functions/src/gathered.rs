//! Aggregates that look at all rows of a group at once: funnels and sequences of events, moving sums,
//! histograms, weighted quantiles. A state is the rows, so they merge in any order.
//!
//! Parameters, which stand in brackets before the arguments, come as one text behind them, with
//! [`SEPARATOR`] between them.

mod arrays;
mod events;
mod hypotheses;
mod intervals;
mod moments;
mod related;
mod weighted;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, new_empty_array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast, concat, filter};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, Result, ScalarValue, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr::expressions::Literal;
use granary_common::Error;

/// Between two parameters in the text.
pub const SEPARATOR: char = '\u{1f}';

/// What becomes of an argument before it is gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Wanted {
    /// As it is.
    Any,
    Float,
    Flag,
}

/// One function.
#[derive(Clone, Copy)]
pub(crate) struct Function {
    /// ClickHouse's name.
    pub(crate) name: &'static str,
    /// How many arguments it takes: at least and at most.
    arity: (usize, usize),
    /// What the arguments become; the last one stands for all others.
    wanted: &'static [Wanted],
    returns: fn(&[DataType]) -> Result<DataType>,
    /// From the rows without NULLs, a column for each argument.
    finish: fn(&Rows<'_>) -> Result<ScalarValue>,
}

/// The rows of a group.
struct Rows<'a> {
    columns: &'a [ArrayRef],
    parameters: &'a [String],
    /// The type of the result.
    data_type: &'a DataType,
}

/// All functions.
pub(crate) fn functions() -> impl Iterator<Item = &'static Function> {
    let families = [
        arrays::FUNCTIONS,
        events::FUNCTIONS,
        hypotheses::FUNCTIONS,
        intervals::FUNCTIONS,
        moments::FUNCTIONS,
        related::FUNCTIONS,
        weighted::FUNCTIONS,
    ];
    families.into_iter().flatten()
}

impl Function {
    /// As DataFusion takes it.
    pub(crate) fn udaf(&'static self) -> Arc<AggregateUDF> {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(AggregateUDF::from(Gathering { function: self, signature }))
    }

    fn wanted(&self, at: usize) -> Wanted {
        let last = self.wanted.last().copied().unwrap_or(Wanted::Any);
        self.wanted.get(at).copied().unwrap_or(last)
    }
}

fn invalid(message: String) -> DataFusionError {
    DataFusionError::External(Box::new(Error::invalid(message)))
}

impl Rows<'_> {
    fn len(&self) -> usize {
        self.columns.first().map_or(0, |column| column.len())
    }

    /// A column as floats.
    fn floats(&self, at: usize) -> Result<Vec<f64>> {
        crate::rows::floats(&self.columns[at]).map(|column| column.values().to_vec())
    }

    /// A column as whole numbers; times count in the ticks of their type.
    fn integers(&self, at: usize) -> Result<Vec<i64>> {
        let column = match self.columns[at].data_type() {
            DataType::Date32 => cast(&self.columns[at], &DataType::Int32)?,
            _ => Arc::clone(&self.columns[at]),
        };
        crate::rows::integers(&column).map(|column| column.values().to_vec())
    }

    fn flags(&self, at: usize) -> &BooleanArray {
        self.columns[at].as_boolean()
    }

    /// Parameter `at` as a number.
    fn number(&self, at: usize, name: &str) -> Result<Option<f64>> {
        match self.parameters.get(at).map(|text| text.trim()) {
            None | Some("") => Ok(None),
            Some(text) => match text.parse() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(invalid(format!("{name}: the parameter '{text}' is no number"))),
            },
        }
    }

    /// Parameter `at` as a count.
    fn count(&self, at: usize, name: &str) -> Result<Option<usize>> {
        match self.number(at, name)? {
            None => Ok(None),
            Some(number) if number >= 0.0 && number.fract() == 0.0 => Ok(Some(number as usize)),
            Some(number) => Err(invalid(format!("{name}: the parameter {number} is no count"))),
        }
    }

    /// NULL of the result's type.
    fn nothing(&self) -> Result<ScalarValue> {
        ScalarValue::try_from(self.data_type)
    }

    /// One array as the result.
    fn list(&self, items: ArrayRef) -> Result<ScalarValue> {
        let DataType::List(field) = self.data_type else {
            return plan_err!("the result is no array but {}", self.data_type);
        };
        let items = cast(&items, field.data_type())?;
        let offsets = OffsetBuffer::from_lengths([items.len()]);
        let list = ListArray::try_new(Arc::clone(field), offsets, items, None)?;
        Ok(ScalarValue::List(Arc::new(list)))
    }
}

#[derive(Clone, Copy)]
struct Named(&'static Function);

impl std::fmt::Debug for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.name)
    }
}

struct Gathering {
    function: &'static Function,
    signature: Signature,
}

impl std::fmt::Debug for Gathering {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.function.name)
    }
}

identified_by!(Gathering, function.name);

impl AggregateUDFImpl for Gathering {
    fn name(&self) -> &str {
        self.function.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let (least, most) = self.function.arity;
        if !(least..=most).contains(&types.len()) {
            return plan_err!(
                "{} takes {least} arguments{}, not {}",
                self.function.name,
                if most > least { " or more" } else { "" },
                types.len()
            );
        }
        let wanted = |(at, data_type): (usize, &DataType)| match self.function.wanted(at) {
            Wanted::Any => data_type.clone(),
            Wanted::Float => DataType::Float64,
            Wanted::Flag => DataType::Boolean,
        };
        Ok(types.iter().enumerate().map(wanted).collect())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        (self.function.returns)(types)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        // The text of the parameters is the last one, where it is there.
        let texts = args.exprs.last().and_then(|last| {
            let value = last.downcast_ref::<Literal>()?.value();
            value.try_as_str().flatten().map(str::to_owned)
        });
        let is_last = texts.is_some() && args.exprs.len() == args.expr_fields.len();
        let count = args.expr_fields.len() - usize::from(is_last);
        let types: Vec<DataType> =
            args.expr_fields[..count].iter().map(|field| field.data_type().clone()).collect();
        let parameters = texts.unwrap_or_default();
        let parameters = match parameters.is_empty() {
            true => Vec::new(),
            false => parameters.split(SEPARATOR).map(str::to_owned).collect(),
        };
        let data_type = (self.function.returns)(&types)?;
        let function = Named(self.function);
        let columns = vec![Vec::new(); types.len()];
        Ok(Box::new(Gathered { function, types, parameters, data_type, columns }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let count = args.input_fields.len();
        let is_text = |field: &FieldRef| *field.data_type() == DataType::Utf8;
        // A parameter is a field of that name, see `Call`.
        let count = count
            - usize::from(
                args.input_fields.last().is_some_and(|f| is_text(f) && f.name() == PARAMETER),
            );
        let list = |(at, field): (usize, &FieldRef)| {
            let list = DataType::new_list(field.data_type().clone(), true);
            Arc::new(Field::new(format_state_name(args.name, &at.to_string()), list, true))
        };
        Ok(args.input_fields[..count].iter().enumerate().map(list).collect())
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// The name of the field that a parameter has.
pub(crate) const PARAMETER: &str = "parameter";

/// The rows of one group so far.
#[derive(Debug)]
struct Gathered {
    function: Named,
    types: Vec<DataType>,
    parameters: Vec<String>,
    data_type: DataType,
    columns: Vec<Vec<ArrayRef>>,
}

impl Gathered {
    fn all(&self, at: usize) -> Result<ArrayRef> {
        let parts: Vec<&dyn Array> = self.columns[at].iter().map(AsRef::as_ref).collect();
        match parts.is_empty() {
            true => Ok(new_empty_array(&self.types[at])),
            false => Ok(concat(&parts)?),
        }
    }

    /// Takes rows without NULLs; a condition that is NULL does not hold.
    fn put(&mut self, values: &[ArrayRef]) -> Result<()> {
        let mut columns = Vec::with_capacity(self.types.len());
        let mut present: Option<BooleanArray> = None;
        for (at, data_type) in self.types.iter().enumerate() {
            let column = cast(&values[at], data_type)?;
            if self.function.0.wanted(at) == Wanted::Flag {
                let holds = |flag: Option<bool>| Some(flag.unwrap_or(false));
                let flags: BooleanArray = column.as_boolean().iter().map(holds).collect();
                columns.push(Arc::new(flags) as ArrayRef);
                continue;
            }
            if column.logical_null_count() > 0 {
                let there = arrow::compute::is_not_null(&column)?;
                present = Some(match present {
                    Some(before) => arrow::compute::and(&before, &there)?,
                    None => there,
                });
            }
            columns.push(column);
        }
        for (at, column) in columns.into_iter().enumerate() {
            let column = match &present {
                Some(present) => filter(&column, present)?,
                None => column,
            };
            if !column.is_empty() {
                self.columns[at].push(column);
            }
        }
        Ok(())
    }
}

impl Accumulator for Gathered {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.put(values)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let lists = states.iter().map(crate::rows::lists);
        let lists = lists.collect::<Result<Vec<ListArray>>>()?;
        let rows = lists.first().map_or(0, |list| list.len());
        for row in 0..rows {
            if lists.iter().any(|list| list.is_null(row)) {
                continue;
            }
            let values: Vec<ArrayRef> = lists.iter().map(|list| list.value(row)).collect();
            self.put(&values)?;
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let column = |at: usize| {
            let items = self.all(at)?;
            let field = Arc::new(Field::new_list_field(self.types[at].clone(), true));
            let offsets = OffsetBuffer::from_lengths([items.len()]);
            let list = ListArray::try_new(field, offsets, items, None)?;
            Ok(ScalarValue::List(Arc::new(list)))
        };
        (0..self.types.len()).map(column).collect()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let columns = (0..self.types.len()).map(|at| self.all(at)).collect::<Result<Vec<_>>>()?;
        let rows =
            Rows { columns: &columns, parameters: &self.parameters, data_type: &self.data_type };
        (self.function.0.finish)(&rows)?.cast_to(&self.data_type)
    }

    fn size(&self) -> usize {
        let columns = self.columns.iter().flatten();
        size_of::<Self>() + columns.map(|column| column.get_array_memory_size()).sum::<usize>()
    }
}
