//! Writing of state dicts that `torch.load` and the published code read.

use std::io;
use std::path::Path;

use tch::Tensor;

use super::storage_class;
use super::zip::ArchiveWriter;
use crate::{Error, NamedTensor, write_whole};

/// Writes tensors as `torch.save` writes a state dict; `torch.load(path, weights_only=True)` reads it.
///
/// The file appears whole or not at all.
///
/// # Errors
///
/// Returns an error if a tensor has a number type that such a file cannot hold, if everything together is larger than
/// 4 GiB, or if the file cannot be written.
pub fn write_state_dict(path: &Path, tensors: &[NamedTensor]) -> Result<(), Error> {
    let program = program(tensors)?;
    let root = path.file_stem().map_or_else(|| "archive".into(), |stem| stem.to_string_lossy());
    write_whole(path, |file| {
        let mut archive = ArchiveWriter::new(file);
        archive.add(&format!("{root}/data.pkl"), &program)?;
        archive.add(&format!("{root}/byteorder"), b"little")?;
        for (key, named) in tensors.iter().enumerate() {
            archive.add(&format!("{root}/data/{key}"), &bytes(&named.tensor)?)?;
        }
        archive.add(&format!("{root}/version"), b"3\n")?;
        archive.finish()
    })
}

/// Returns the bytes of a tensor's numbers in row-major order.
fn bytes(tensor: &Tensor) -> io::Result<Vec<u8>> {
    let tensor = tensor.detach().to_device(tch::Device::Cpu).contiguous();
    let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
    tensor.f_copy_data_u8(&mut bytes, tensor.numel()).map_err(io::Error::other)?;
    Ok(bytes)
}

/// Builds the pickle: an ordered dictionary of names and of tensors over the storages 0, 1, ….
fn program(tensors: &[NamedTensor]) -> Result<Vec<u8>, Error> {
    let mut program = Program(vec![0x80, 2]);
    program.empty_ordered_dict();
    program.0.push(b'(');
    for (key, NamedTensor { name, tensor }) in tensors.iter().enumerate() {
        let size = tensor.size();
        let Some(class) = storage_class(tensor.kind()) else {
            return Err(Error::UnsupportedKind { name: name.clone(), kind: tensor.kind() });
        };
        program.text(name);
        program.name("torch._utils", "_rebuild_tensor_v2");
        program.0.extend(b"((");
        program.text("storage");
        program.name("torch", class);
        program.text(&key.to_string());
        program.text("cpu");
        program.number(tensor.numel() as i64);
        // TUPLE, BINPERSID
        program.0.extend(b"tQ");
        program.number(0);
        program.numbers(&size);
        program.numbers(&row_major(&size));
        // NEWFALSE: the tensor requires no gradient, as in a state dict. Then its hooks: none.
        program.0.push(0x89);
        program.empty_ordered_dict();
        program.0.extend(b"tR");
    }
    // SETITEMS, STOP
    program.0.extend(b"u.");
    Ok(program.0)
}

fn row_major(size: &[i64]) -> Vec<i64> {
    let mut strides = vec![1; size.len()];
    for axis in (1..size.len()).rev() {
        strides[axis - 1] = strides[axis] * size[axis].max(1);
    }
    strides
}

#[derive(Debug)]
struct Program(Vec<u8>);

impl Program {
    fn name(&mut self, module: &str, name: &str) {
        // GLOBAL
        self.0.extend(format!("c{module}\n{name}\n").bytes());
    }

    fn empty_ordered_dict(&mut self) {
        self.name("collections", "OrderedDict");
        // EMPTY_TUPLE, REDUCE
        self.0.extend(b")R");
    }

    fn text(&mut self, text: &str) {
        // BINUNICODE
        self.0.push(b'X');
        self.0.extend((text.len() as u32).to_le_bytes());
        self.0.extend(text.bytes());
    }

    fn number(&mut self, number: i64) {
        match i32::try_from(number) {
            // BININT
            Ok(number) => {
                self.0.push(b'J');
                self.0.extend(number.to_le_bytes());
            }
            // LONG1
            Err(_) => {
                self.0.extend([0x8a, 8]);
                self.0.extend(number.to_le_bytes());
            }
        }
    }

    fn numbers(&mut self, numbers: &[i64]) {
        // MARK, TUPLE
        self.0.push(b'(');
        numbers.iter().for_each(|&number| self.number(number));
        self.0.push(b't');
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::published::read_state_dict;
    use tch::{Device, Kind};

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.pt");
        let options = (Kind::Float, Device::Cpu);
        let tensors = [
            NamedTensor::new("net.a.weight", &Tensor::randn([3, 4, 5], options)),
            NamedTensor::new("net.transposed", &Tensor::randn([3, 4], options).transpose(0, 1)),
            NamedTensor::new("net.number", &Tensor::from(2.5f64)),
            NamedTensor::new("net.empty", &Tensor::zeros([0, 7], options)),
            NamedTensor::new("net.half", &Tensor::randn([5], options).to_kind(Kind::BFloat16)),
            NamedTensor::new("net.count", &Tensor::from_slice(&[1i64, -(1 << 40)])),
        ];
        write_state_dict(&path, &tensors).unwrap();
        let read = read_state_dict(&path).unwrap();
        assert_eq!(read.len(), tensors.len());
        for (read, written) in read.iter().zip(&tensors) {
            assert_eq!(read.name, written.name);
            assert_eq!(read.tensor.kind(), written.tensor.kind());
            assert_eq!(read.tensor, written.tensor);
        }
    }

    #[test]
    fn a_kind_that_the_format_lacks_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.pt");
        let complex = Tensor::zeros([2], (Kind::ComplexFloat, Device::Cpu));
        let error = write_state_dict(&path, &[NamedTensor::new("z", &complex)]).unwrap_err();
        assert!(matches!(error, Error::UnsupportedKind { name, .. } if name == "z"));
        assert!(!path.exists());
    }
}
