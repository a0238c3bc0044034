//! Table functions: `numbers`, `zeros`, `generate_series`, `values`, `generateRandom`, `cluster`, and
//! the endless tables `system.numbers` and `system.zeros`.

use granary_common::{Error, Result};
use sqlparser::ast::{
    ColumnDef, DataType, Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, ObjectNamePart,
    Query, SetExpr, TableFactor, TableFunctionArgs, Value,
};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::zoned::text_of;
use super::{series, templates};
use crate::dialect::{GranaryDialect, tokenize};
use crate::show::identifier;
use crate::statement::TableName;
use crate::types::type_from_sql;

/// The engine's own `generate_series`, under a name that is not rewritten again.
pub(crate) const SERIES: &str = "__granary_series";

/// Rows of the endless tables; no query reads so many.
const ENDLESS: &str = "9223372036854775807";

/// Puts a query in the place of a table function.
pub(super) fn rewrite(factor: &mut TableFactor) -> Result<()> {
    if let Some(plain) = without_lateral(factor)? {
        *factor = plain;
    }
    let TableFactor::Table { name, alias, args, with_ordinality, .. } = factor else {
        return Ok(());
    };
    let mut of_columns = None;
    let lower = name.to_string().to_lowercase();
    let text = match (lower.as_str(), args.as_ref()) {
        ("system.numbers" | "system.numbers_mt", None) => {
            format!("SELECT value AS number FROM range(0, {ENDLESS})")
        }
        ("system.zeros" | "system.zeros_mt", None) => {
            format!("SELECT CAST(0 AS UInt8) AS zero FROM range(0, {ENDLESS})")
        }
        (_, None) => return Ok(()),
        (lower, Some(arguments)) => {
            let arguments = values_of(lower, arguments)?;
            if let ("dictionary", [of]) = (lower, arguments.as_slice()) {
                *name = dictionary_name(of)?;
                *args = None;
                return Ok(());
            }
            if let Some(table) = of_cluster(lower, &arguments)? {
                *name = table;
                *args = None;
                return Ok(());
            }
            match series::query_text(lower, &arguments, *with_ordinality)? {
                Some(text) => {
                    let columns = arguments.len() + usize::from(*with_ordinality);
                    let columns = if lower.starts_with("generate") { 1 } else { columns };
                    of_columns = Some((series::names_columns(&arguments), columns));
                    text
                }
                None => match query_text(lower, &arguments)? {
                    Some(text) => text,
                    None => return Ok(()),
                },
            }
        }
    };
    let kept = alias.take();
    *factor = derived(&text)?;
    if let TableFactor::Derived { alias, lateral, .. } = factor {
        *alias = kept;
        *lateral = of_columns.is_some_and(|(of_columns, _)| of_columns);
    }
    if let Some((_, columns)) = of_columns {
        series::name_column(factor, columns);
    }
    Ok(())
}

/// `LATERAL unnest(...)`: functions see the columns of the tables before anyway.
fn without_lateral(factor: &TableFactor) -> Result<Option<TableFactor>> {
    let TableFactor::Function { name, args, with_ordinality, alias, .. } = factor else {
        return Ok(None);
    };
    let mut plain = first_table("SELECT * FROM f()")?;
    if let TableFactor::Table {
        name: plain_name,
        args: plain_args,
        with_ordinality: plain_ordinality,
        alias: plain_alias,
        ..
    } = &mut plain
    {
        *plain_name = name.clone();
        *plain_args = Some(TableFunctionArgs { args: args.clone(), settings: None });
        *plain_ordinality = *with_ordinality;
        *plain_alias = alias.clone();
    }
    Ok(Some(plain))
}

pub(super) fn values_of(name: &str, arguments: &TableFunctionArgs) -> Result<Vec<Expr>> {
    let value = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => Ok(value.clone()),
        other => Err(Error::invalid(format!("{name} takes plain arguments, not {other}"))),
    };
    arguments.args.iter().map(value).collect()
}

/// The query of a function; `None` when it is no such function.
fn query_text(lower: &str, arguments: &[Expr]) -> Result<Option<String>> {
    Ok(Some(match lower {
        "numbers" | "numbers_mt" => match arguments {
            [] => format!("SELECT value AS number FROM range(0, {ENDLESS})"),
            [count] => format!("SELECT value AS number FROM range(0, {count})"),
            [first, count] => {
                format!("SELECT value AS number FROM range({first}, ({first}) + ({count}))")
            }
            [first, count, step] => {
                format!("SELECT value AS number FROM range({first}, ({first}) + ({count}), {step})")
            }
            _ => return Err(Error::invalid("numbers takes a count, or an offset and a count")),
        },
        "zeros" | "zeros_mt" => match arguments {
            [] => format!("SELECT CAST(0 AS UInt8) AS zero FROM range(0, {ENDLESS})"),
            [count] => format!("SELECT CAST(0 AS UInt8) AS zero FROM range(0, {count})"),
            _ => return Err(Error::invalid("zeros takes a count")),
        },
        "generateseries" | "generate_series" if (1..=3).contains(&arguments.len()) => {
            let texts: Vec<String> = arguments.iter().map(Expr::to_string).collect();
            format!("SELECT value AS generate_series FROM {SERIES}({})", texts.join(", "))
        }
        "generateseries" | "generate_series" => {
            return Err(Error::invalid("generate_series takes the first, the last and a step"));
        }
        "values" => rows(arguments)?,
        "generaterandom" => random(arguments)?,
        _ => return Ok(None),
    }))
}

pub(super) fn derived(text: &str) -> Result<TableFactor> {
    first_table(&format!("SELECT * FROM ({text})"))
}

/// The first table of a query.
fn first_table(text: &str) -> Result<TableFactor> {
    let mut outer: Query = templates::query(text)?;
    let relation = match outer.body.as_mut() {
        SetExpr::Select(select) => select.from.pop().map(|table| table.relation),
        _ => None,
    };
    relation.ok_or_else(|| Error::internal("a table function is no table"))
}

/// `SELECT * FROM table`.
///
/// # Errors
/// An internal error when the name cannot be read again.
pub fn query_of_table(table: &TableName) -> Result<Query> {
    let parts = table.database.iter().chain([&table.name]);
    let parts = parts.map(|part| identifier(part));
    templates::query(&format!("SELECT * FROM {}", parts.collect::<Vec<_>>().join(".")))
}

/// A query for all that `factor` has.
pub(crate) fn all_of(factor: TableFactor) -> Result<Query> {
    let mut query = templates::query("SELECT * FROM t")?;
    if let SetExpr::Select(select) = query.body.as_mut()
        && let [table] = select.from.as_mut_slice()
    {
        table.relation = factor;
    }
    Ok(query)
}

/// `cluster(name, table)`, `clusterAllReplicas(...)`: a table is the same on the whole cluster.
fn of_cluster(lower: &str, arguments: &[Expr]) -> Result<Option<ObjectName>> {
    if ["remote", "remotesecure"].contains(&lower) {
        return Err(Error::unsupported(
            "tables of other servers are not read by remote(): a table of this cluster is read by \
             its name, and files from elsewhere by url(), s3() or file()",
        ));
    }
    if !["cluster", "clusterallreplicas"].contains(&lower) {
        return Ok(None);
    }
    let parts: Vec<Ident> = match arguments {
        [_, Expr::Identifier(table)] => vec![table.clone()],
        [_, Expr::CompoundIdentifier(parts)] => parts.clone(),
        [_, database, table] => {
            let part = |expression: &Expr| match expression {
                Expr::Identifier(ident) => Some(ident.clone()),
                other => text_of(other).map(Ident::new),
            };
            [database, table].into_iter().filter_map(part).collect()
        }
        _ => Vec::new(),
    };
    if parts.is_empty() {
        return Err(Error::invalid("cluster takes the name of a cluster and a table"));
    }
    Ok(Some(ObjectName(parts.into_iter().map(ObjectNamePart::Identifier).collect())))
}

/// The name that `dictionary(...)` is given.
fn dictionary_name(of: &Expr) -> Result<ObjectName> {
    let parts: Vec<Ident> = match of {
        Expr::Identifier(name) => vec![name.clone()],
        Expr::CompoundIdentifier(parts) => parts.clone(),
        other => match text_of(other) {
            Some(text) => text.split('.').map(|part| Ident::with_quote('`', part)).collect(),
            None => return Err(Error::invalid("dictionary takes the name of a dictionary")),
        },
    };
    Ok(ObjectName(parts.into_iter().map(ObjectNamePart::Identifier).collect()))
}

/// The columns of a structure, `'a UInt8, b String'`.
pub(super) fn structure(text: &str) -> Result<Vec<ColumnDef>> {
    static DIALECT: GranaryDialect = GranaryDialect;
    let wrong = |error: &dyn std::fmt::Display| {
        Error::invalid(format!("'{text}' is no structure of columns: {error}"))
    };
    let tokens = tokenize(text).map_err(|error| wrong(&error))?;
    let mut parser = Parser::new(&DIALECT).with_tokens_with_locations(tokens);
    let columns = parser.parse_comma_separated(Parser::parse_column_def);
    let columns = columns.map_err(|error| wrong(&error))?;
    match parser.peek_token().token {
        Token::EOF => Ok(columns),
        other => Err(wrong(&format!("'{other}' is not expected there"))),
    }
}

/// `values('a UInt8, b String', (1, 'x'), ...)`, or the rows alone.
fn rows(arguments: &[Expr]) -> Result<String> {
    let (columns, rows) = match arguments.split_first() {
        Some((first, rest)) if text_of(first).is_some() && !rest.is_empty() => {
            (Some(structure(text_of(first).unwrap_or_default())?), rest)
        }
        _ => (None, arguments),
    };
    if rows.is_empty() {
        return Err(Error::invalid("values takes a structure and rows"));
    }
    let row = |row: &Expr| match row {
        Expr::Tuple(_) => row.to_string(),
        Expr::Nested(value) => format!("({value})"),
        value => format!("({value})"),
    };
    let texts: Vec<String> = rows.iter().map(row).collect();
    let width = match &rows[0] {
        Expr::Tuple(parts) => parts.len(),
        _ => 1,
    };
    let names: Vec<String> = (1..=width).map(|place| format!("c{place}")).collect();
    let shown: Vec<String> = match &columns {
        None => names.clone(),
        Some(columns) if columns.len() == width => columns
            .iter()
            .zip(&names)
            .map(|(column, name)| {
                format!("CAST({name} AS {}) AS {}", column.data_type, column.name)
            })
            .collect(),
        Some(columns) => {
            return Err(Error::invalid(format!(
                "values: the structure has {} columns, the rows have {width}",
                columns.len()
            )));
        }
    };
    Ok(format!(
        "SELECT {} FROM (VALUES {}) AS __granary_values ({})",
        shown.join(", "),
        texts.join(", "),
        names.join(", ")
    ))
}

/// `generateRandom('a UInt8, ...' [, seed [, longest text [, longest array]]])`: endless rows.
fn random(arguments: &[Expr]) -> Result<String> {
    let Some(columns) = arguments.first().and_then(text_of) else {
        return Err(Error::invalid("generateRandom takes the structure of its columns as a text"));
    };
    let number = |at: usize, or: u64| match arguments.get(at) {
        None => Ok(or),
        Some(Expr::Value(value)) => match &value.value {
            Value::Number(digits, _) => digits
                .parse()
                .map_err(|_| Error::invalid("the limits of generateRandom are whole numbers")),
            Value::Null => Ok(or),
            _ => Err(Error::invalid("the limits of generateRandom are whole numbers")),
        },
        Some(_) => Err(Error::invalid("the limits of generateRandom are constants")),
    };
    let seed = match number(1, u64::MAX)? {
        u64::MAX => "random()".to_owned(),
        seed => seed.to_string(),
    };
    let (text, array) = (number(2, 10)?, number(3, 10)?);
    let column = |column: &ColumnDef| {
        let salt = format!("'{}', {seed}", column.name.value.replace('\'', "''"));
        let value = random_value(&column.data_type, &salt, text, array)?;
        Ok(format!("{value} AS {}", column.name))
    };
    let shown: Vec<String> = structure(columns)?.iter().map(column).collect::<Result<_>>()?;
    Ok(format!("SELECT {} FROM range(0, {ENDLESS})", shown.join(", ")))
}

/// A value of the type from a hash of the row's number and the salt.
fn random_value(data_type: &DataType, salt: &str, text: u64, array: u64) -> Result<String> {
    use arrow::datatypes::DataType as Arrow;
    let hash = |nth: u32| format!("cityHash64(value, {nth}, {salt})");
    let first = hash(0);
    let written = data_type.to_string();
    let column_type = type_from_sql(data_type)?;
    let arrow = column_type.arrow();
    Ok(match &arrow {
        Arrow::Boolean => format!("({first} % 2 = 1)"),
        Arrow::UInt8 | Arrow::UInt16 | Arrow::UInt32 => {
            let bits = 8 * arrow.primitive_width().unwrap_or(1);
            format!("CAST({first} % {} AS {written})", 1_u64 << bits)
        }
        Arrow::Int8 | Arrow::Int16 | Arrow::Int32 => {
            let bits = 8 * arrow.primitive_width().unwrap_or(1);
            let all = 1_u64 << bits;
            format!("CAST(CAST({first} % {all} AS Int64) - {} AS {written})", all / 2)
        }
        Arrow::UInt64 => first,
        Arrow::Int64 => format!(
            "(CAST({first} % 9223372036854775807 AS Int64) * CASE WHEN {} % 2 = 1 THEN -1 ELSE 1 END)",
            hash(1)
        ),
        Arrow::Float32 | Arrow::Float64 => {
            format!("CAST({first} / 18446744073709551616e0 AS {written})")
        }
        Arrow::Decimal128(precision, scale) => {
            let whole =
                10_u64.saturating_pow(u32::from(precision - scale.max(&0).unsigned_abs()).min(9));
            format!("CAST({first} % {whole} AS {written})")
        }
        Arrow::Date32 => format!("CAST(CAST({first} % 65536 AS Int32) AS Date)"),
        Arrow::Timestamp(..) => {
            format!("CAST(CAST(CAST({first} % 4294967296 AS Int64) AS DateTime) AS {written})")
        }
        Arrow::Utf8 | Arrow::Utf8View | Arrow::LargeUtf8 => {
            let letters: Vec<String> =
                (0..=text / 16).map(|n| format!("hex({})", hash(2 + n as u32))).collect();
            format!("left({}, CAST({} % {} AS Int64))", letters.join(" || "), hash(1), text + 1)
        }
        Arrow::List(_) => {
            let DataType::Array(inner) = data_type else {
                return Err(Error::unsupported(format!("generateRandom has no {written}")));
            };
            let inner = match inner {
                sqlparser::ast::ArrayElemTypeDef::Parenthesis(inner)
                | sqlparser::ast::ArrayElemTypeDef::AngleBracket(inner) => inner,
                _ => return Err(Error::unsupported(format!("generateRandom has no {written}"))),
            };
            let item = |nth: u64| random_value(inner, &format!("{nth}, {salt}"), text, array);
            let items: Vec<String> = (0..array.min(32)).map(item).collect::<Result<_>>()?;
            let most = items.len() + 1;
            format!(
                "array_slice(make_array({}), 1, CAST({first} % {most} AS Int64))",
                items.join(", ")
            )
        }
        _ => return Err(Error::unsupported(format!("generateRandom has no values of {written}"))),
    })
}
