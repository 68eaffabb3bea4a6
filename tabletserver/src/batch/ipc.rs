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
