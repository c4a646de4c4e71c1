//! The two text formats of Prometheus: the classic one, which is all that node_exporter's textfile
//! collector reads, and OpenMetrics.
//!
//! They differ in the name of a counter, which in OpenMetrics is without the suffix of its samples,
//! and in the end of the text.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text as encoding};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

/// The labels of a sample.
pub type Labels = Vec<(&'static str, String)>;

/// A metric family.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// The name, without `_total`.
    pub name: &'static str,
    /// Its meaning.
    pub help: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its samples.
    pub samples: Vec<Sample>,
}

/// The type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A present value.
    Gauge,
    /// A value that only grows, until the next start.
    Counter,
}

/// A labelled value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The labels.
    pub labels: Labels,
    /// The value.
    pub value: Value,
}

/// The value of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A count.
    Count(u64),
    /// A whole number.
    Whole(i64),
    /// Any number.
    Fraction(f64),
}

impl Value {
    pub(super) fn flag(is_so: bool) -> Self {
        Self::Whole(i64::from(is_so))
    }
}

impl Sample {
    pub(super) fn alone(value: Value) -> Self {
        Self { labels: Labels::new(), value }
    }
}

impl Family {
    pub(super) fn gauge(name: &'static str, help: &'static str, samples: Vec<Sample>) -> Self {
        Self { name, help, kind: Kind::Gauge, samples }
    }

    pub(super) fn counter(name: &'static str, help: &'static str, samples: Vec<Sample>) -> Self {
        Self { name, help, kind: Kind::Counter, samples }
    }
}

/// A text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The classic format, which node_exporter reads too.
    Classic,
    /// OpenMetrics.
    OpenMetrics,
}

impl Format {
    /// Its media type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Writes families as text.
///
/// # Errors
/// Never in practice: writing to a string can't fail.
pub fn text(families: Vec<Family>, format: Format) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Page { families, format }));
    let mut text = String::new();
    match format {
        Format::Classic => encoding::encode_registry(&mut text, &registry)?,
        Format::OpenMetrics => encoding::encode(&mut text, &registry)?,
    }
    Ok(text)
}

#[derive(Debug)]
struct Page {
    families: Vec<Family>,
    format: Format,
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.families
            .iter()
            .filter(|family| !family.samples.is_empty())
            .try_for_each(|family| family.encode(self.format, &mut encoder))
    }
}

impl Family {
    fn encode(&self, format: Format, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (suffix, kind) = match (self.kind, format) {
            (Kind::Gauge, _) => ("", MetricType::Gauge),
            (Kind::Counter, Format::Classic) => ("_total", MetricType::Counter),
            // The encoder adds it to the samples.
            (Kind::Counter, Format::OpenMetrics) => ("", MetricType::Counter),
        };
        let name = format!("{}{suffix}", self.name);
        let mut metric = encoder.encode_descriptor(&name, self.help, None, kind)?;
        self.samples.iter().try_for_each(|sample| {
            if sample.labels.is_empty() {
                return sample.value.encode(format, &mut metric);
            }
            sample.value.encode(format, &mut metric.encode_family(&sample.labels)?)
        })
    }
}

impl Value {
    fn encode(self, format: Format, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
        match (self, format) {
            (Self::Count(number), Format::OpenMetrics) => {
                encoder.encode_counter::<NoLabelSet, _, f64>(&number, None)
            }
            (Self::Count(number), Format::Classic) => encoder.encode_gauge(&number),
            (Self::Whole(number), _) => encoder.encode_gauge(&number),
            (Self::Fraction(number), _) => encoder.encode_gauge(&number),
        }
    }
}
