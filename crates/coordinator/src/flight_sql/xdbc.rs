//! The types of columns in the words of ODBC and JDBC.

use std::sync::LazyLock;

use arrow_flight::sql::metadata::{XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{Nullable, Searchable, XdbcDataType, XdbcDatetimeSubcode};

/// The answers; `None` when the library refuses them, which a test excludes.
pub static XDBC_TYPES: LazyLock<Option<XdbcTypeInfoData>> = LazyLock::new(|| {
    let mut types = XdbcTypeInfoDataBuilder::new();
    all().into_iter().for_each(|info| types.append(info));
    types.build().ok()
});

fn all() -> Vec<XdbcTypeInfo> {
    use XdbcDataType as Xdbc;
    let mut all = vec![
        plain("Bool", Xdbc::XdbcBit, 1),
        text("String", Xdbc::XdbcVarchar),
        text("FixedString", Xdbc::XdbcBinary),
        text("Binary", Xdbc::XdbcVarbinary),
        text("UUID", Xdbc::XdbcChar),
        XdbcTypeInfo {
            create_params: Some(vec!["precision".to_owned(), "scale".to_owned()]),
            maximum_scale: Some(76),
            ..number("Decimal", Xdbc::XdbcDecimal, 76, false)
        },
        time("Date", Xdbc::XdbcDate, XdbcDatetimeSubcode::XdbcSubcodeYear, 10),
        time("Time", Xdbc::XdbcTime, XdbcDatetimeSubcode::XdbcSubcodeTime, 15),
        plain("Interval", Xdbc::XdbcInterval, 40),
        time("DateTime", Xdbc::XdbcTimestamp, XdbcDatetimeSubcode::XdbcSubcodeTimestamp, 19),
        time("DateTime64", Xdbc::XdbcTimestamp, XdbcDatetimeSubcode::XdbcSubcodeTimestamp, 29),
    ];
    let integers = [
        ("Int8", Xdbc::XdbcTinyint, 3, false),
        ("Int16", Xdbc::XdbcSmallint, 5, false),
        ("Int32", Xdbc::XdbcInteger, 10, false),
        ("Int64", Xdbc::XdbcBigint, 19, false),
        ("UInt8", Xdbc::XdbcTinyint, 3, true),
        ("UInt16", Xdbc::XdbcSmallint, 5, true),
        ("UInt32", Xdbc::XdbcInteger, 10, true),
        ("UInt64", Xdbc::XdbcBigint, 20, true),
        ("Float32", Xdbc::XdbcReal, 7, false),
        ("Float64", Xdbc::XdbcDouble, 15, false),
    ];
    all.extend(integers.map(|(name, kind, digits, unsigned)| number(name, kind, digits, unsigned)));
    all
}

fn plain(name: &str, kind: XdbcDataType, size: i32) -> XdbcTypeInfo {
    XdbcTypeInfo {
        type_name: name.to_owned(),
        data_type: kind,
        column_size: Some(size),
        literal_prefix: None,
        literal_suffix: None,
        create_params: None,
        // `Nullable(T)` is a type of every T.
        nullable: Nullable::NullabilityNullable,
        case_sensitive: false,
        searchable: Searchable::Full,
        unsigned_attribute: None,
        fixed_prec_scale: false,
        auto_increment: None,
        local_type_name: Some(name.to_owned()),
        minimum_scale: None,
        maximum_scale: None,
        sql_data_type: kind,
        datetime_subcode: None,
        num_prec_radix: None,
        interval_precision: None,
    }
}

fn number(name: &str, kind: XdbcDataType, digits: i32, unsigned: bool) -> XdbcTypeInfo {
    XdbcTypeInfo {
        unsigned_attribute: Some(unsigned),
        auto_increment: Some(false),
        num_prec_radix: Some(10),
        minimum_scale: Some(0),
        ..plain(name, kind, digits)
    }
}

fn quoted(name: &str, kind: XdbcDataType, size: i32) -> XdbcTypeInfo {
    XdbcTypeInfo {
        literal_prefix: Some("'".to_owned()),
        literal_suffix: Some("'".to_owned()),
        ..plain(name, kind, size)
    }
}

fn text(name: &str, kind: XdbcDataType) -> XdbcTypeInfo {
    XdbcTypeInfo { case_sensitive: true, ..quoted(name, kind, i32::MAX) }
}

fn time(name: &str, kind: XdbcDataType, subcode: XdbcDatetimeSubcode, size: i32) -> XdbcTypeInfo {
    XdbcTypeInfo {
        sql_data_type: XdbcDataType::XdbcDatetime,
        datetime_subcode: Some(subcode),
        ..quoted(name, kind, size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answers_are_built() {
        let types = XDBC_TYPES.as_ref().expect("built");
        assert_eq!(types.record_batch(None).unwrap().num_rows(), all().len());
        let bigint = XdbcDataType::XdbcBigint as i32;
        assert_eq!(types.record_batch(Some(bigint)).unwrap().num_rows(), 2);
    }
}
