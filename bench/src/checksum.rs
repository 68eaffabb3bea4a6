//! What a reader makes of the rows it is given: sums that do not depend on their order.

use crate::codec::Row;
use crate::events::Event;
use anyhow::{Result, bail, ensure};
use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowDictionaryKeyType, Float64Type, Int32Type, TimestampMicrosecondType, UInt32Type};
use arrow_array::{Array, DictionaryArray, RecordBatch};
use arrow_schema::DataType;

const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

/// Rows, and a sum over what is in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checksum {
    /// Rows added.
    pub rows: u64,
    sum: u64,
}

fn mix(hash: u64, n: u64) -> u64 {
    (hash ^ n).wrapping_mul(MULTIPLIER).rotate_left(29)
}

/// Length and both ends of a text: cheap, so that engines are measured and not this.
fn ends(text: &str) -> u64 {
    let bytes = text.as_bytes();
    let word = |at: Option<&[u8; 8]>| at.map_or(0, |b| u64::from_le_bytes(*b));
    let short = || bytes.iter().fold(0, |sum, b| sum << 8 | u64::from(*b));
    let first = if bytes.len() < 8 { short() } else { word(bytes.first_chunk()) };
    first ^ word(bytes.last_chunk()).rotate_left(17) ^ (bytes.len() as u64) << 48
}

impl Checksum {
    /// Takes a row into the sum.
    pub fn add(&mut self, r: &Row<'_>) {
        let numbers = [
            r.at as u64,
            r.event_id as u64,
            r.price.map_or(u64::MAX, f64::to_bits),
            r.quantity as u64,
            u64::from(r.paid),
            r.received_at as u64,
        ];
        let texts = [r.user_id, r.event_type, r.session, r.device, r.country, r.message, r.payload];
        let hash = numbers.into_iter().chain(texts.map(ends)).fold(MULTIPLIER, mix);
        self.rows += 1;
        self.sum = self.sum.wrapping_add(hash);
    }

    /// Takes the rows of another sum into this one.
    pub fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// The sum of these events.
    #[must_use]
    pub fn of<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut sum = Self::default();
        events.into_iter().for_each(|e| sum.add(&Row::from(e)));
        sum
    }
}

/// Rows of the three-column scan, and sums over each column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ColumnSum {
    /// Rows added.
    pub rows: u64,
    text_bytes: u64,
    text_sum: u64,
    prices: u64,
    price_sum: u64,
    time_sum: u64,
}

impl ColumnSum {
    /// Takes a batch with the columns `event_type`, `price`, `received_at`, in this order.
    ///
    /// # Errors
    /// If a column has another type or a null where none can be.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        ensure!(batch.num_columns() == 3, "{} columns, not 3", batch.num_columns());
        self.rows += batch.num_rows() as u64;
        self.add_texts(batch.column(0))?;
        let prices = batch.column(1).as_primitive::<Float64Type>();
        self.prices += (prices.len() - prices.null_count()) as u64;
        // Null slots are zero in all engines or skipped here.
        self.price_sum = match prices.nulls() {
            None => prices.values().iter().fold(self.price_sum, |sum, f| sum.wrapping_add(f.to_bits())),
            Some(n) => n.valid_indices().fold(self.price_sum, |sum, i| sum.wrapping_add(prices.value(i).to_bits())),
        };
        let times = batch.column(2).as_primitive::<TimestampMicrosecondType>();
        ensure!(times.null_count() == 0, "{} times are null", times.null_count());
        self.time_sum = times.values().iter().fold(self.time_sum, |sum, t| sum.wrapping_add(*t as u64));
        Ok(())
    }

    fn add_texts(&mut self, column: &dyn Array) -> Result<()> {
        ensure!(column.null_count() == 0, "{} texts are null", column.null_count());
        match column.data_type() {
            DataType::Utf8 => {
                let texts = column.as_string::<i32>();
                let (first, last) = (texts.value_offsets()[0] as usize, texts.value_offsets()[texts.len()] as usize);
                self.add_bytes(&texts.value_data()[first..last]);
            }
            DataType::Utf8View => column.as_string_view().iter().flatten().for_each(|t| self.add_bytes(t.as_bytes())),
            DataType::Dictionary(k, _) if **k == DataType::Int32 => self.add_dictionary(column.as_dictionary::<Int32Type>())?,
            DataType::Dictionary(k, _) if **k == DataType::UInt32 => self.add_dictionary(column.as_dictionary::<UInt32Type>())?,
            other => bail!("a text column of type {other}"),
        }
        Ok(())
    }

    fn add_dictionary<K: ArrowDictionaryKeyType>(&mut self, column: &DictionaryArray<K>) -> Result<()> {
        let Some(texts) = column.downcast_dict::<arrow_array::StringArray>() else { bail!("a dictionary of something else than text") };
        for text in texts {
            self.add_bytes(text.unwrap_or_default().as_bytes());
        }
        Ok(())
    }

    fn add_bytes(&mut self, bytes: &[u8]) {
        self.text_bytes += bytes.len() as u64;
        // Short runs of narrow sums, which the compiler turns into vector instructions.
        for run in bytes.chunks(128) {
            self.text_sum += u64::from(run.iter().fold(0_u32, |sum, b| sum + u32::from(*b)));
        }
    }

    /// The sum of these events.
    #[must_use]
    pub fn of<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut sum = Self::default();
        for e in events {
            sum.rows += 1;
            sum.add_bytes(e.event_type.as_bytes());
            if let Some(price) = e.price {
                sum.prices += 1;
                sum.price_sum = sum.price_sum.wrapping_add(price.to_bits());
            }
            sum.time_sum = sum.time_sum.wrapping_add(e.received_at as u64);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::ThreeBuilder;
    use crate::events::Generator;

    #[test]
    fn every_field_counts_and_the_order_does_not() {
        let mut events: Vec<_> = Generator::new(50, 1).collect();
        let sum = Checksum::of(&events);
        events.reverse();
        assert_eq!(Checksum::of(&events), sum);
        events[7].payload.pop();
        assert_ne!(Checksum::of(&events), sum);
    }

    #[test]
    fn batches_add_up_to_the_sum_of_their_events() {
        let events: Vec<_> = Generator::new(1_000, 1).collect();
        let mut builder = ThreeBuilder::new(64);
        let mut sum = ColumnSum::default();
        for e in &events {
            if let Some(batch) = builder.push(e.event_type, e.price, e.received_at).unwrap() {
                sum.add(&batch).unwrap();
            }
        }
        sum.add(&builder.finish().unwrap()).unwrap();
        assert_eq!(sum, ColumnSum::of(&events));
    }
}
