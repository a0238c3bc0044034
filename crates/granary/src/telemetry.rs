//! Logs and metrics of a role.

use granary_common::{Error, Result};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::config::{LogFormat, Settings};

/// Renders the metrics of this process.
pub type MetricsHandle = PrometheusHandle;

/// Installs the log subscriber and the metrics recorder of this process.
///
/// Kind `InvalidInput` when the log filter cannot be read.
pub fn install(settings: &Settings) -> Result<MetricsHandle> {
    let filter = EnvFilter::try_new(&settings.log)
        .map_err(|error| Error::invalid(format!("log = \"{}\": {error}", settings.log)))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_span_events(FmtSpan::NONE)
        .with_writer(std::io::stderr);
    let installed = match settings.log_format {
        LogFormat::Text => lines.with_ansi(false).try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    installed.map_err(|error| Error::internal(format!("logging: {error}")))?;
    let handle = PrometheusBuilder::new()
        .install_recorder()
        .map_err(|error| Error::internal(format!("metrics: {error}")))?;
    metrics::describe_gauge!("granary_build_info", "Always 1; the labels say what runs.");
    metrics::gauge!("granary_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(handle)
}
