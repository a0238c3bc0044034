//! `toInt32(x)` and its kin for every type of numbers: `-OrNull`, `-OrZero` and `-OrDefault` for texts
//! that are no such number.

/// The types of numbers.
const NUMBERS: [&str; 15] = [
    "Int8", "Int16", "Int32", "Int64", "Int128", "Int256", "UInt8", "UInt16", "UInt32", "UInt64",
    "UInt128", "UInt256", "Float32", "Float64", "Bool",
];

/// Name, number of arguments, meaning.
pub(super) fn all() -> Vec<(String, usize, String)> {
    let mut calls: Vec<(String, usize, String)> =
        NUMBERS.iter().flat_map(|of| number(of)).collect();
    for (name, of) in [("Date", "Date"), ("DateTime", "DateTime")] {
        calls.push((format!("to{name}OrNull"), 1, format!("TRY_CAST($1 AS {of})")));
    }
    calls
}

fn number(of: &str) -> [(String, usize, String); 5] {
    let or = |default: &str| format!("coalesce(TRY_CAST($1 AS {of}), CAST({default} AS {of}))");
    [
        (format!("to{of}"), 1, format!("CAST($1 AS {of})")),
        (format!("to{of}OrNull"), 1, format!("TRY_CAST($1 AS {of})")),
        (format!("to{of}OrZero"), 1, or("0")),
        (format!("to{of}OrDefault"), 1, or("0")),
        (format!("to{of}OrDefault"), 2, or("$2")),
    ]
}
