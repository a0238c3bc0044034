//! SHOW CREATE TABLE and DESCRIBE.

use granary_catalog::{ColumnRole, Distribution, Snapshot, SqlFunction, Table, View, ViewKind};

use crate::statement::{dictionary_text, refresh_text};

/// One row of DESCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedColumn {
    pub name: String,
    pub column_type: String,
    /// `DEFAULT`, `MATERIALIZED`, `ALIAS`, or empty.
    pub default_kind: String,
    pub default_expression: String,
    pub comment: String,
}

/// The rows of DESCRIBE: the visible columns in order.
pub fn describe(table: &Table) -> Vec<DescribedColumn> {
    let row = |column: &granary_catalog::Column| {
        let (kind, expression) = match &column.default {
            Some(default) => (default.keyword().to_owned(), default.text().to_owned()),
            None => (String::new(), String::new()),
        };
        DescribedColumn {
            name: column.name.clone(),
            column_type: column.column_type.to_string(),
            default_kind: kind,
            default_expression: expression,
            comment: column.comment.clone().unwrap_or_default(),
        }
    };
    table.visible_columns().map(row).collect()
}

/// The rows of DESCRIBE of a view.
pub fn describe_view(view: &View) -> Vec<DescribedColumn> {
    describe_columns(&view.columns)
}

/// The rows of DESCRIBE for columns that have nothing but a name and a type.
pub fn describe_columns(columns: &[(String, granary_catalog::ColumnType)]) -> Vec<DescribedColumn> {
    let row = |(name, column_type): &(String, granary_catalog::ColumnType)| DescribedColumn {
        name: name.clone(),
        column_type: column_type.to_string(),
        default_kind: String::new(),
        default_expression: String::new(),
        comment: String::new(),
    };
    columns.iter().map(row).collect()
}

/// A statement that makes this function.
pub fn show_create_function(function: &SqlFunction) -> String {
    let parameters: Vec<String> =
        function.parameters.iter().map(|parameter| identifier(parameter)).collect();
    let name = identifier(&function.name);
    format!("CREATE FUNCTION {name} AS ({}) -> {}", parameters.join(", "), function.body)
}

/// A statement that makes this view.
pub fn show_create_view(view: &View, snapshot: &Snapshot) -> String {
    let name = full_name(snapshot, view.database, &view.name);
    if let Some(definition) = dictionary_text(view) {
        return format!("CREATE DICTIONARY {name} {definition}");
    }
    let behind = snapshot.table_behind(view).map(|state| &state.table);
    let target = match behind {
        Some(table) => full_name(snapshot, table.database, &table.name),
        None => "dropped".to_owned(),
    };
    let mut text = match &view.kind {
        ViewKind::Plain => {
            let columns: Vec<String> =
                view.columns.iter().map(|(name, _)| identifier(name)).collect();
            format!("CREATE VIEW {name} ({})\nAS {}", columns.join(", "), view.query)
        }
        ViewKind::Alias { .. } => {
            let arguments = match behind {
                Some(table) => {
                    let database = snapshot.databases.get(&table.database);
                    let database = database.map_or("default", |found| found.name.as_str());
                    format!("{}, {}", identifier(database), identifier(&table.name))
                }
                None => "dropped, dropped".to_owned(),
            };
            return format!(
                "CREATE TABLE {name} AS {target}\nENGINE = Distributed(granary, {arguments})"
            );
        }
        ViewKind::Materialized { .. } | ViewKind::Refreshable { .. } => {
            let kept = match behind.filter(|_| view.kind.owned().is_some()) {
                // What follows the name.
                Some(table) => match show_create_table(table, "").split_once("\n(") {
                    Some((_, clauses)) => format!("\n({clauses}"),
                    None => String::new(),
                },
                None => format!(" TO {target}"),
            };
            let refresh = refreshed(&view.kind);
            format!("CREATE MATERIALIZED VIEW {name}{refresh}{kept}\nAS {}", view.query)
        }
    };
    if let Some(comment) = &view.comment {
        text = text.replacen("\nAS ", &format!("\nCOMMENT {}\nAS ", string(comment)), 1);
    }
    text
}

/// The schedule of a refreshable view.
fn refreshed(kind: &ViewKind) -> String {
    let ViewKind::Refreshable { schedule, append, .. } = kind else { return String::new() };
    let empty = if schedule.starts_empty { " EMPTY" } else { "" };
    format!("\n{}{empty}", refresh_text(schedule, *append))
}

fn full_name(snapshot: &Snapshot, database: granary_common::DatabaseId, name: &str) -> String {
    let database = snapshot.databases.get(&database).map_or("default", |found| found.name.as_str());
    format!("{}.{}", identifier(database), identifier(name))
}

/// A statement that makes this table.
pub fn show_create_table(table: &Table, database: &str) -> String {
    let mut text =
        format!("CREATE TABLE {}.{}\n(\n", identifier(database), identifier(&table.name));
    let columns = table.visible_columns().map(column_text);
    let indexes = table.options.indexes.iter().map(|index| {
        let name = identifier(&index.name);
        let (of, kind, granularity) = (&index.expression, &index.kind, index.granularity);
        format!("    INDEX {name} {of} TYPE {kind} GRANULARITY {granularity}")
    });
    let projections = table.options.projections.iter().map(|projection| {
        format!("    PROJECTION {} ({})", identifier(&projection.name), projection.query)
    });
    let constraints = table.options.constraints.iter().map(|constraint| {
        format!("    CONSTRAINT {} CHECK {}", identifier(&constraint.name), constraint.condition)
    });
    let elements: Vec<String> =
        columns.chain(indexes).chain(projections).chain(constraints).collect();
    text.push_str(&elements.join(",\n"));
    text.push_str("\n)\nENGINE = ");
    text.push_str(table.engine.kind.name());
    if !table.engine.arguments.is_empty() {
        text.push_str(&format!("({})", table.engine.arguments.join(", ")));
    }
    if !table.partition_by.is_empty() {
        let texts: Vec<&str> = table.partition_by.iter().map(|key| key.text.as_str()).collect();
        text.push_str(&format!("\nPARTITION BY {}", key_text(&texts)));
    }
    let keys: Vec<&str> = table.order_by.iter().map(|key| key.text.as_str()).collect();
    if table.primary_key_len < keys.len() {
        text.push_str(&format!("\nPRIMARY KEY {}", key_text(&keys[..table.primary_key_len])));
    }
    text.push_str(&format!("\nORDER BY {}", key_text(&keys)));
    if !table.unique_key.is_empty() {
        let columns = table.unique_key.iter().filter_map(|id| table.column(*id));
        let names: Vec<String> = columns.map(|column| identifier(&column.name)).collect();
        text.push_str(&format!("\nUNIQUE KEY ({})", names.join(", ")));
    }
    if let Some(key) = table.sampling_key() {
        text.push_str(&format!("\nSAMPLE BY {key}"));
    }
    if let Some(ttl) = &table.options.ttl {
        text.push_str(&format!("\nTTL {ttl}"));
    }
    text.push_str(&distribution_text(table));
    if let Some(group) = &table.colocation_group {
        text.push_str(&format!("\nCOLOCATE WITH {}", identifier(group)));
    }
    let settings = table.settings.iter().filter(|(name, _)| *name != Table::SAMPLE_BY_SETTING);
    let pairs: Vec<String> = settings.map(|(name, value)| setting_text(name, value)).collect();
    if !pairs.is_empty() {
        text.push_str(&format!("\nSETTINGS {}", pairs.join(", ")));
    }
    if let Some(comment) = &table.comment {
        text.push_str(&format!("\nCOMMENT {}", string(comment)));
    }
    text
}

fn column_text(column: &granary_catalog::Column) -> String {
    let mut text = format!("    {} {}", identifier(&column.name), column.column_type);
    if let Some(default) = &column.default {
        text.push_str(&format!(" {} {}", default.keyword(), default.text()));
    }
    if let Some(comment) = &column.comment {
        text.push_str(&format!(" COMMENT {}", string(comment)));
    }
    if let Some(codec) = &column.codec {
        text.push_str(&format!(" {codec}"));
    }
    if let Some(ttl) = &column.ttl {
        text.push_str(&format!(" TTL {ttl}"));
    }
    text
}

fn distribution_text(table: &Table) -> String {
    let buckets = table.buckets;
    match &table.distribution {
        Distribution::Rotation => format!("\nDISTRIBUTED RANDOMLY BUCKETS {buckets}"),
        Distribution::Hash(columns) => {
            let name = |column: &granary_catalog::Column| match &column.role {
                ColumnRole::KeyExpression(text) => text.clone(),
                ColumnRole::Ordinary => identifier(&column.name),
            };
            let names: Vec<String> =
                columns.iter().filter_map(|id| table.column(*id)).map(name).collect();
            format!("\nDISTRIBUTED BY ({}) BUCKETS {buckets}", names.join(", "))
        }
    }
}

fn key_text(texts: &[&str]) -> String {
    match texts {
        [] => "tuple()".to_owned(),
        [one] => (*one).to_owned(),
        many => format!("({})", many.join(", ")),
    }
}

fn setting_text(name: &str, value: &str) -> String {
    match value.parse::<f64>() {
        Ok(_) => format!("{name} = {value}"),
        Err(_) => format!("{name} = {}", string(value)),
    }
}

/// A name, quoted where it must be.
pub(crate) fn identifier(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !is_reserved(name);
    match plain {
        true => name.to_owned(),
        false => format!("`{}`", name.replace('`', "``")),
    }
}

fn is_reserved(name: &str) -> bool {
    use sqlparser::keywords::{RESERVED_FOR_COLUMN_ALIAS, RESERVED_FOR_IDENTIFIER};
    let upper = name.to_ascii_uppercase();
    RESERVED_FOR_COLUMN_ALIAS
        .iter()
        .chain(RESERVED_FOR_IDENTIFIER)
        .any(|keyword| format!("{keyword:?}") == upper)
}

/// A text in quotes.
pub(crate) fn string(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
