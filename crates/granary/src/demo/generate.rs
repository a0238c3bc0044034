//! TPC-H's tables from the `tpchgen` crate, in pieces that can be made side by side.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatchReader;
use granary_common::Error;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator,
    PartSuppGenerator, RegionGenerator, SupplierGenerator,
};
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RegionArrow,
    SupplierArrow,
};

use crate::client::Batches;

const BATCH_ROWS: usize = 8192;
/// Rows of a piece, about; a table of fewer rows is one piece.
const PIECE_ROWS: u64 = 1_500_000;

/// A table of TPC-H.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Region,
    Nation,
    Supplier,
    Customer,
    Part,
    Partsupp,
    Orders,
    Lineitem,
}

impl Table {
    /// All, small ones first.
    pub(super) const ALL: [Table; 8] = [
        Table::Region,
        Table::Nation,
        Table::Supplier,
        Table::Customer,
        Table::Part,
        Table::Partsupp,
        Table::Orders,
        Table::Lineitem,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Table::Region => "region",
            Table::Nation => "nation",
            Table::Supplier => "supplier",
            Table::Customer => "customer",
            Table::Part => "part",
            Table::Partsupp => "partsupp",
            Table::Orders => "orders",
            Table::Lineitem => "lineitem",
        }
    }

    /// Its rows at `scale`; of `lineitem`, about.
    pub(super) fn rows(self, scale: f64) -> u64 {
        let rows = match self {
            Table::Region => 5,
            Table::Nation => 25,
            Table::Supplier => SupplierGenerator::calculate_row_count(scale, 1, 1),
            Table::Customer => CustomerGenerator::calculate_row_count(scale, 1, 1),
            Table::Part => PartGenerator::calculate_row_count(scale, 1, 1),
            Table::Partsupp => 4 * PartGenerator::calculate_row_count(scale, 1, 1),
            Table::Orders => OrderGenerator::calculate_row_count(scale, 1, 1),
            Table::Lineitem => 4 * OrderGenerator::calculate_row_count(scale, 1, 1),
        };
        rows.max(0) as u64
    }

    /// How many pieces it is made in.
    pub(super) fn pieces(self, scale: f64) -> i32 {
        self.rows(scale).div_ceil(PIECE_ROWS).clamp(1, 10_000) as i32
    }

    /// The rows of piece `piece`, counted from 1.
    pub(super) fn piece(self, scale: f64, piece: i32) -> (SchemaRef, Batches) {
        let of = self.pieces(scale);
        macro_rules! generate {
            ($generator:ident, $arrow:ident) => {
                boxed($arrow::new($generator::new(scale, piece, of)).with_batch_size(BATCH_ROWS))
            };
        }
        match self {
            Table::Region => generate!(RegionGenerator, RegionArrow),
            Table::Nation => generate!(NationGenerator, NationArrow),
            Table::Supplier => generate!(SupplierGenerator, SupplierArrow),
            Table::Customer => generate!(CustomerGenerator, CustomerArrow),
            Table::Part => generate!(PartGenerator, PartArrow),
            Table::Partsupp => generate!(PartSuppGenerator, PartSuppArrow),
            Table::Orders => generate!(OrderGenerator, OrderArrow),
            Table::Lineitem => generate!(LineItemGenerator, LineItemArrow),
        }
    }
}

/// Makes what all generators share, which the first of them would otherwise make.
pub(super) fn prepare() {
    tpchgen::text::TextPool::get_or_init_default();
}

fn boxed<R: RecordBatchReader + Send + 'static>(rows: R) -> (SchemaRef, Batches) {
    let schema = rows.schema();
    let rows = rows.map(|batch: Result<RecordBatch, _>| {
        batch.map_err(|error| Error::internal(format!("generating rows: {error}")))
    });
    (schema, Box::new(rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_up_the_table() {
        for table in Table::ALL {
            let (_, batches) = table.piece(0.001, 1);
            let rows: usize = batches.map(|batch| batch.expect("rows").num_rows()).sum();
            let (rows, expected) = (rows as u64, table.rows(0.001));
            let about = expected / 50;
            assert!(rows.abs_diff(expected) <= about, "{}: {rows}", table.name());
        }
        assert_eq!(Table::Lineitem.pieces(1.0), 4);
    }
}
