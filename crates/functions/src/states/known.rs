//! The aggregate functions that have states, under ClickHouse's names.

use std::sync::{Arc, LazyLock};

use datafusion::functions_aggregate as df;
use datafusion::logical_expr::AggregateUDF;

use crate::{average, by_key, extremes, gathered, quantiles};

/// One function.
#[derive(Debug)]
pub(crate) struct Known {
    /// ClickHouse's name, which states carry.
    pub(super) name: &'static str,
    /// What the dialect's rewrites call it.
    id: &'static str,
    pub(super) inner: Arc<AggregateUDF>,
    /// Equal values count once.
    pub(super) distinct: bool,
    /// Values of the function merge by the function itself.
    pub(super) simple: bool,
    /// It is our own and in its plain form no function of the sessions yet.
    pub(super) own: bool,
    pub(super) parameters: Parameters,
}

/// How the parameters stand behind the arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parameters {
    None,
    /// As numbers behind the one argument.
    Levels,
    /// As one text, always.
    Text,
}

/// All of them.
pub(super) static KNOWN: LazyLock<Vec<Known>> = LazyLock::new(|| {
    let plain = |name, id, inner| {
        let (distinct, simple, own, parameters) = (false, false, false, Parameters::None);
        Known { name, id, inner, distinct, simple, own, parameters }
    };
    let simple = |name, id, inner| Known { simple: true, ..plain(name, id, inner) };
    let distinct = |name, id, inner| Known { distinct: true, ..plain(name, id, inner) };
    let own = |name, id, inner| Known { own: true, ..plain(name, id, inner) };
    let levels = |name, id, inner| Known { parameters: Parameters::Levels, ..own(name, id, inner) };
    let gathered = gathered::functions().map(|function| {
        // A plain `topK` is a function of the sessions.
        let (id, own) = match function.name {
            "topK" => ("topk", false),
            name => (name, true),
        };
        Known { parameters: Parameters::Text, own, ..plain(function.name, id, function.udaf()) }
    });
    let by_key = by_key::all().into_iter().zip([
        ("sumMap", "summap"),
        ("minMap", "minmap"),
        ("maxMap", "maxmap"),
    ]);
    let by_key = by_key.map(|(inner, (name, id))| simple(name, id, inner));
    let listed = vec![
        plain("count", "count", df::count::count_udaf()),
        simple("sum", "sum", df::sum::sum_udaf()),
        plain("avg", "avg", average::average()),
        simple("min", "min", df::min_max::min_udaf()),
        simple("max", "max", df::min_max::max_udaf()),
        simple("any", "first_value", df::first_last::first_value_udaf()),
        simple("anyLast", "last_value", df::first_last::last_value_udaf()),
        distinct("uniq", "uniq", df::count::count_udaf()),
        plain("stddevPop", "stddev_pop", df::stddev::stddev_pop_udaf()),
        plain("stddevSamp", "stddev_samp", df::stddev::stddev_udaf()),
        plain("varPop", "var_pop", df::variance::var_pop_udaf()),
        plain("varSamp", "var_samp", df::variance::var_samp_udaf()),
        plain("covarPop", "covar_pop", df::covariance::covar_pop_udaf()),
        plain("covarSamp", "covar_samp", df::covariance::covar_samp_udaf()),
        plain("corr", "corr", df::correlation::corr_udaf()),
        plain("groupArray", "grouparray", df::array_agg::array_agg_udaf()),
        distinct("groupUniqArray", "groupuniqarray", df::array_agg::array_agg_udaf()),
        simple("groupBitAnd", "bit_and", df::bit_and_or_xor::bit_and_udaf()),
        simple("groupBitOr", "bit_or", df::bit_and_or_xor::bit_or_udaf()),
        simple("groupBitXor", "bit_xor", df::bit_and_or_xor::bit_xor_udaf()),
        own("argMin", "argmin", extremes::arg_min()),
        own("argMax", "argmax", extremes::arg_max()),
        levels("quantile", "quantile", quantiles::quantile()),
        levels("quantileExact", "quantileexact", quantiles::quantile_exact()),
        levels("quantiles", "quantiles", quantiles::quantiles()),
    ];
    listed.into_iter().chain(by_key).chain(gathered).collect()
});

/// The function that ClickHouse calls `name`, perhaps with combinators that leave states as they
/// are, as `sumIf` or `maxOrNull`.
pub(super) fn of(name: &str) -> Option<&'static Known> {
    let id = crate::aggregate_of_state(name)?;
    KNOWN.iter().find(|known| known.id == id)
}

/// Whether the function that the rewrites call `id` has its parameters as one text.
pub fn takes_text(id: &str) -> bool {
    let known = KNOWN.iter().find(|known| known.id == id);
    known.is_some_and(|known| known.parameters == Parameters::Text)
}

/// ClickHouse's name of the function that the rewrites call `id`.
pub fn canonical(id: &str) -> Option<&'static str> {
    KNOWN.iter().find(|known| known.id == id).map(|known| known.name)
}
