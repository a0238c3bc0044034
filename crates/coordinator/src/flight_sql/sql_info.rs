//! What this server can do, for clients that ask before they try.

use std::sync::LazyLock;

use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder};
use arrow_flight::sql::{
    SqlInfo, SqlNullOrdering, SqlSupportedCaseSensitivity, SqlSupportedTransaction,
};

/// No statement and no transaction times out by itself.
const NO_TIMEOUT: i32 = 0;
/// Bit of a grammar level or a kind in a bitmask.
const fn bit(position: i32) -> i32 {
    1 << position
}

/// The answers; `None` when the library refuses them, which a test excludes.
pub static SQL_INFO: LazyLock<Option<SqlInfoData>> = LazyLock::new(|| build().ok());

fn build() -> Result<SqlInfoData, arrow_flight::error::FlightError> {
    let mut info = SqlInfoDataBuilder::new();
    info.append(SqlInfo::FlightSqlServerName, "Granary");
    info.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    info.append(SqlInfo::FlightSqlServerArrowVersion, "1.5");
    info.append(SqlInfo::FlightSqlServerReadOnly, false);
    info.append(SqlInfo::FlightSqlServerSql, true);
    info.append(SqlInfo::FlightSqlServerSubstrait, false);
    info.append(SqlInfo::FlightSqlServerTransaction, SqlSupportedTransaction::None as i32);
    info.append(SqlInfo::FlightSqlServerCancel, true);
    info.append(SqlInfo::FlightSqlServerBulkIngestion, true);
    info.append(SqlInfo::FlightSqlServerIngestTransactionsSupported, false);
    info.append(SqlInfo::FlightSqlServerStatementTimeout, NO_TIMEOUT);
    info.append(SqlInfo::FlightSqlServerTransactionTimeout, NO_TIMEOUT);
    info.append(SqlInfo::SqlDdlCatalog, false);
    info.append(SqlInfo::SqlDdlSchema, true);
    info.append(SqlInfo::SqlDdlTable, true);
    // Identifiers keep their case; they match exactly first, else without case.
    let sensitive = SqlSupportedCaseSensitivity::SqlCaseSensitivityCaseInsensitive as i32;
    info.append(SqlInfo::SqlIdentifierCase, i64::from(sensitive));
    info.append(SqlInfo::SqlQuotedIdentifierCase, i64::from(sensitive));
    info.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
    info.append(SqlInfo::SqlAllTablesAreSelectable, true);
    info.append(SqlInfo::SqlNullOrdering, i64::from(SqlNullOrdering::SqlNullsSortedAtEnd as i32));
    info.append(SqlInfo::SqlSearchStringEscape, "\\");
    info.append(SqlInfo::SqlSupportsColumnAliasing, true);
    info.append(SqlInfo::SqlNullPlusNullIsNull, true);
    info.append(SqlInfo::SqlSupportsTableCorrelationNames, true);
    info.append(SqlInfo::SqlSupportsExpressionsInOrderBy, true);
    info.append(SqlInfo::SqlSupportsOrderByUnrelated, true);
    info.append(SqlInfo::SqlSupportsLikeEscapeClause, true);
    info.append(SqlInfo::SqlSupportsNonNullableColumns, true);
    // Minimum and core grammar; entry and intermediate SQL-92.
    info.append(SqlInfo::SqlSupportedGrammar, bit(0) | bit(1));
    info.append(SqlInfo::SqlAnsi92SupportedLevel, bit(0) | bit(1));
    info.append(SqlInfo::SqlSupportsIntegrityEnhancementFacility, false);
    info.append(SqlInfo::SqlSchemaTerm, "database");
    info.append(SqlInfo::SqlCatalogTerm, "catalog");
    info.append(SqlInfo::SqlCatalogAtStart, true);
    info.append(SqlInfo::SqlSelectForUpdateSupported, false);
    info.append(SqlInfo::SqlStoredProceduresSupported, false);
    info.append(SqlInfo::SqlCorrelatedSubqueriesSupported, true);
    // UNION and UNION ALL.
    info.append(SqlInfo::SqlSupportedUnions, bit(0) | bit(1));
    info.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answers_are_built() {
        let info = SQL_INFO.as_ref().expect("built");
        let rows = info.record_batch([SqlInfo::FlightSqlServerName as u32]).unwrap();
        assert_eq!(rows.num_rows(), 1);
        assert!(info.record_batch([]).unwrap().num_rows() > 20);
    }
}
