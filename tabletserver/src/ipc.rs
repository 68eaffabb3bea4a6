//! Record batches as the pieces of one Arrow IPC stream.

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use common::{Error, Result};

/// Encodes one stream: schema first, then batches, then its end. The pieces one after the other are the stream.
pub struct IpcEncoder {
    writer: StreamWriter<Vec<u8>>,
}

impl IpcEncoder {
    /// A stream of batches of this schema.
    ///
    /// # Errors
    /// `Internal` if the schema has no IPC form.
    pub fn new(schema: &Schema) -> Result<Self> {
        Ok(Self { writer: StreamWriter::try_new(Vec::new(), schema).map_err(|e| failed(&e))? })
    }

    /// The bytes of a batch; those of the schema before the first one's.
    ///
    /// # Errors
    /// `Internal` if the batch is of another schema.
    pub fn encode(&mut self, batch: &RecordBatch) -> Result<Bytes> {
        self.writer.write(batch).map_err(|e| failed(&e))?;
        Ok(self.drain())
    }

    /// The bytes that end the stream.
    ///
    /// # Errors
    /// `Internal` if it has ended already.
    pub fn finish(&mut self) -> Result<Bytes> {
        self.writer.finish().map_err(|e| failed(&e))?;
        Ok(self.drain())
    }

    fn drain(&mut self) -> Bytes {
        std::mem::take(self.writer.get_mut()).into()
    }
}

fn failed(e: &ArrowError) -> Error {
    Error::internal(format!("arrow stream: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, RecordBatchOptions};
    use arrow::ipc::reader::StreamReader;
    use std::io::Cursor;
    use std::sync::Arc;

    fn sent_and_read(batches: &[RecordBatch]) -> Vec<RecordBatch> {
        let mut encoder = IpcEncoder::new(&batches[0].schema()).unwrap();
        let mut stream = Vec::new();
        for batch in batches {
            stream.extend_from_slice(&encoder.encode(batch).unwrap());
        }
        stream.extend_from_slice(&encoder.finish().unwrap());
        StreamReader::try_new(Cursor::new(stream), None).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn pieces_of_a_stream_read_back_as_its_batches() {
        let batch = |values: Vec<i64>| RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(values)) as ArrayRef)]).unwrap();
        let batches = [batch(vec![1, 2]), batch(vec![3])];
        assert_eq!(sent_and_read(&batches), batches);
    }

    #[test]
    fn rows_without_columns_are_counted_over_the_wire() {
        let options = RecordBatchOptions::new().with_row_count(Some(2));
        let counted = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options).unwrap();
        assert_eq!(sent_and_read(&[counted]).iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
    }
}
