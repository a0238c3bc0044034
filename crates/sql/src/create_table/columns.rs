//! The columns of a table that is being created.

use arrow::datatypes::Schema;
use datafusion::common::DFSchema;
use granary_catalog::{Column, ColumnCodec, ColumnDefault, ColumnRole, ColumnType, Table};
use granary_common::{ColumnId, Error, Result, did_you_mean};
use sqlparser::ast::{
    ArrayElemTypeDef, ColumnDef, ColumnOption, ColumnOptionDef, DataType, Expr, Ident,
};

use super::TableSource;
use crate::Notice;
use crate::bind::bind_expression;
use crate::error::error_from_datafusion;
use crate::statement::parse_expression;
use crate::types::type_from_sql;

/// Columns in declaration order; hidden ones come after all declared ones.
#[derive(Default)]
pub(crate) struct Columns {
    columns: Vec<Column>,
    next: u32,
    /// The columns with PRIMARY KEY beside them.
    pub(super) primary_key: Vec<String>,
}

impl Columns {
    /// The visible columns of another table.
    pub(super) fn of_table(table: &Table) -> Columns {
        let renumbered = |(at, column): (usize, &Column)| Column {
            id: ColumnId(at as u32),
            // The new table has no parts from before.
            earlier: Vec::new(),
            added: None,
            computed: None,
            ..column.clone()
        };
        let columns: Vec<Column> = table.visible_columns().enumerate().map(renumbered).collect();
        Columns { next: columns.len() as u32, columns, primary_key: Vec::new() }
    }

    /// The columns of a table that is being changed.
    pub(crate) fn to_alter(table: &Table) -> Columns {
        Columns {
            columns: table.columns.clone(),
            next: table.next_column_id.0,
            primary_key: Vec::new(),
        }
    }

    /// The columns that a query gives.
    pub(super) fn of_query(query_columns: &[(String, ColumnType)]) -> Result<Columns> {
        let mut columns = Columns::default();
        for (name, column_type) in query_columns {
            if columns.columns.iter().any(|column| column.name == *name) {
                return Err(Error::invalid(format!(
                    "the query gives the column '{name}' more than once; name its columns with AS"
                )));
            }
            let column = Column::new(columns.next_id(), name, column_type.clone());
            columns.columns.push(column);
        }
        Ok(columns)
    }

    /// Visible ones first.
    pub(crate) fn into_columns(mut self) -> Vec<Column> {
        self.columns.sort_by_key(|column| !column.is_visible());
        self.columns
    }

    /// The columns in their order, to change.
    pub(crate) fn as_mut(&mut self) -> &mut Vec<Column> {
        &mut self.columns
    }

    /// All columns.
    pub(crate) fn all(&self) -> &[Column] {
        &self.columns
    }

    /// The first id that no column has or had.
    pub(crate) fn next_column_id(&self) -> ColumnId {
        ColumnId(self.next)
    }

    /// An id for a new column.
    pub(crate) fn next_id(&mut self) -> ColumnId {
        let id = ColumnId(self.next);
        self.next += 1;
        id
    }

    /// Adds the declared columns.
    pub(super) fn declare(
        &mut self,
        declared: &[ColumnDef],
        source: TableSource<'_>,
        notices: &mut Vec<Notice>,
    ) -> Result<()> {
        let mut defaults = Vec::new();
        for definition in &without_nested(declared)? {
            let name = definition.name.value.clone();
            if self.columns.iter().any(|column| column.name == name) {
                return Err(Error::invalid(format!("column '{name}' appears more than once")));
            }
            let column = self.definition(definition, source, notices)?;
            if let Some(default) = &column.default {
                defaults.push((name.clone(), parse_expression(default.text())?));
            }
            self.columns.push(column);
        }
        // A default may refer to any other column.
        for (name, expression) in defaults {
            self.check_default(&name, &expression, source)?;
        }
        Ok(())
    }

    /// The declared column under a new id. Whether its default binds is checked when all columns
    /// are known.
    pub(crate) fn definition(
        &mut self,
        definition: &ColumnDef,
        source: TableSource<'_>,
        notices: &mut Vec<Notice>,
    ) -> Result<Column> {
        let mut column = self.column(definition, source)?;
        // A CHECK beside a column is one of the table.
        let is_own = |option: &&ColumnOptionDef| !matches!(option.option, ColumnOption::Check(_));
        for option in definition.options.iter().filter(is_own) {
            self.option(&mut column, &option.option, notices)?;
        }
        Ok(column)
    }

    fn column(&mut self, definition: &ColumnDef, source: TableSource<'_>) -> Result<Column> {
        let name = definition.name.value.clone();
        let within = |error: Error| error.context(format!("column '{name}'"));
        let column_type = type_from_sql(&definition.data_type).map_err(within)?;
        let says = |wanted: &ColumnOption| definition.options.iter().any(|o| o.option == *wanted);
        let (null, not_null) = (says(&ColumnOption::Null), says(&ColumnOption::NotNull));
        if not_null && (null || column_type.is_nullable()) {
            return Err(Error::invalid(format!("column '{name}' is said to be nullable and not")));
        }
        let is_container = matches!(
            column_type,
            ColumnType::Array(_)
                | ColumnType::Map(..)
                | ColumnType::Tuple(_)
                | ColumnType::AggregateFunction(_)
        );
        if null && is_container {
            return Err(Error::invalid(format!("column '{name}': {column_type} cannot be NULL")));
        }
        let is_key = definition
            .options
            .iter()
            .any(|option| matches!(option.option, ColumnOption::PrimaryKey(_)));
        let by_default =
            source.settings.data_type_default_nullable && !not_null && !is_container && !is_key;
        let column_type = match null || by_default {
            true => column_type.into_nullable(),
            false => column_type,
        };
        Ok(Column::new(self.next_id(), name, column_type))
    }

    /// Takes an option over into the column. NULL and NOT NULL belong to the type.
    pub(crate) fn option(
        &mut self,
        column: &mut Column,
        option: &ColumnOption,
        notices: &mut Vec<Notice>,
    ) -> Result<()> {
        let name = &column.name;
        let mut default = |default: ColumnDefault| match column.default.replace(default) {
            None => Ok(()),
            Some(_) => Err(Error::invalid(format!("column '{name}' has two defaults"))),
        };
        match option {
            ColumnOption::Null | ColumnOption::NotNull => {}
            ColumnOption::Default(expression) => {
                default(ColumnDefault::Expression(expression.to_string()))?;
            }
            ColumnOption::Materialized(expression) => {
                default(ColumnDefault::Materialized(expression.to_string()))?;
            }
            ColumnOption::Alias(expression) => {
                default(ColumnDefault::Alias(expression.to_string()))?;
            }
            ColumnOption::Comment(text) => column.comment = Some(text.clone()),
            ColumnOption::PrimaryKey(_) => self.primary_key.push(name.clone()),
            ColumnOption::DialectSpecific(tokens) => {
                let texts: Vec<String> = tokens.iter().map(ToString::to_string).collect();
                match texts.as_slice() {
                    [word, rule] if word.eq_ignore_ascii_case("TTL") => {
                        column.ttl = Some(rule.clone());
                    }
                    _ => {
                        let text = texts.concat();
                        let within = |error: Error| error.context(format!("column '{name}'"));
                        let codecs = ColumnCodec::parse(&text).map_err(within)?;
                        notices.extend(codec_notice(name, &codecs));
                        column.codec = Some(text);
                    }
                }
            }
            ColumnOption::ForeignKey(_) => {
                notices.push(Notice::new(format!("column '{name}': REFERENCES is not checked")))
            }
            ColumnOption::Unique(_) => {
                return Err(Error::unsupported(format!(
                    "column '{name}': UNIQUE is not checked; write UNIQUE KEY ({name}) behind the \
                     columns, and a row replaces the earlier one of the same key"
                )));
            }
            ColumnOption::Check(check) => {
                return Err(Error::unsupported(format!(
                    "column '{name}': write ALTER TABLE ... ADD CONSTRAINT name {check}"
                )));
            }
            other => {
                return Err(Error::unsupported(format!(
                    "column '{name}': {other} is not supported yet"
                )));
            }
        }
        Ok(())
    }

    /// Checks the default of a column over all of them; gives whether it is the same in every row
    /// and at any time.
    pub(crate) fn check_default(
        &self,
        name: &str,
        default: &Expr,
        source: TableSource<'_>,
    ) -> Result<bool> {
        let within = |error: Error| error.context(format!("the default of column '{name}'"));
        let schema = self.schema()?;
        let bound = bind_expression(source.state, default, &schema).map_err(within)?;
        let mut mentioned = bound.column_refs().into_iter();
        if mentioned.any(|column| column.name == name) {
            return Err(within(Error::invalid("it refers to the column itself")));
        }
        let column = self.columns.iter().find(|column| column.name == name);
        if column.is_some_and(|column| matches!(column.default, Some(ColumnDefault::Alias(_)))) {
            super::keys::check_deterministic(&bound).map_err(|error| {
                within(Error::unsupported(format!(
                    "ALIAS is computed when rows are written: {}",
                    error.message()
                )))
            })?;
        }
        Ok(bound.column_refs().is_empty() && !bound.is_volatile())
    }

    /// The visible columns as a schema to plan expressions over.
    pub(crate) fn schema(&self) -> Result<DFSchema> {
        let visible = self.columns.iter().filter(|column| column.is_visible());
        let fields: Vec<_> =
            visible.map(|column| column.column_type.arrow_field(&column.name)).collect();
        DFSchema::try_from(Schema::new(fields)).map_err(|error| error_from_datafusion(error, None))
    }

    /// The visible column of exactly this name, else the only one that matches without case.
    pub(crate) fn find(&self, name: &str) -> Result<&Column> {
        let visible = || self.columns.iter().filter(|column| column.is_visible());
        if let Some(exact) = visible().find(|column| column.name == name) {
            return Ok(exact);
        }
        let mut alike = visible().filter(|column| column.name.eq_ignore_ascii_case(name));
        match (alike.next(), alike.next()) {
            (Some(only), None) => Ok(only),
            _ => {
                let hint = did_you_mean(name, visible().map(|column| column.name.as_str()));
                Err(Error::invalid(format!("unknown column '{name}'{hint}")))
            }
        }
    }

    /// The column with this id.
    pub(crate) fn get(&self, id: ColumnId) -> Option<&Column> {
        self.columns.iter().find(|column| column.id == id)
    }

    /// The hidden column that holds the values of the expression `text`, when a key has it.
    pub(crate) fn of_expression(&self, text: &str) -> Option<&Column> {
        let is_it = |column: &&Column| match &column.role {
            ColumnRole::KeyExpression(expression) => expression == text,
            ColumnRole::Ordinary => false,
        };
        self.columns.iter().find(is_it)
    }

    /// The hidden column that holds the values of the expression `text`, added when it is new.
    pub(super) fn hidden(&mut self, text: &str, column_type: ColumnType) -> ColumnId {
        let role = ColumnRole::KeyExpression(text.to_owned());
        if let Some(same) = self.columns.iter().find(|column| column.role == role) {
            return same.id;
        }
        let mut name = text.to_owned();
        while self.columns.iter().any(|column| column.name == name) {
            name.push('\'');
        }
        let id = self.next_id();
        self.columns.push(Column { role, ..Column::new(id, name, column_type) });
        id
    }
}

/// `n Nested(k T, v U)` is two columns, `n.k Array(T)` and `n.v Array(U)`.
fn without_nested(declared: &[ColumnDef]) -> Result<Vec<ColumnDef>> {
    let mut flat = Vec::with_capacity(declared.len());
    for definition in declared {
        let DataType::Nested(elements) = &definition.data_type else {
            flat.push(definition.clone());
            continue;
        };
        let name = &definition.name.value;
        if !definition.options.is_empty() {
            return Err(Error::unsupported(format!(
                "column '{name}': a Nested column takes no options; give its elements as columns \
                 of type Array"
            )));
        }
        flat.extend(elements.iter().map(|element| ColumnDef {
            name: Ident::new(format!("{name}.{}", element.name.value)),
            data_type: DataType::Array(ArrayElemTypeDef::Parenthesis(Box::new(
                element.data_type.clone(),
            ))),
            options: element.options.clone(),
        }));
    }
    Ok(flat)
}

/// What a user is told whose codec has no counterpart of its own.
fn codec_notice(name: &str, codecs: &[ColumnCodec]) -> Option<Notice> {
    codecs.contains(&ColumnCodec::Lz4).then(|| {
        Notice::new(format!(
            "column '{name}': LZ4 stands for the light encodings that inserts use, in merged parts as \
             well; without CODEC merged parts are smaller and not slower to read"
        ))
    })
}
