//! The memory use of the program.

use bfn_nets::device;
use tch::Device;

/// Returns the peak memory use in bytes, of the GPU if the network is on one, otherwise of the process.
///
/// The result is 0 if the system does not track it.
pub fn peak(device: Device) -> u64 {
    device::peak_memory(device).ok().flatten().unwrap_or_else(|| of_process("VmHWM:"))
}

/// Returns the current memory use of the process in bytes, or 0 if the system does not track it.
pub fn resident() -> u64 {
    of_process("VmRSS:")
}

/// Reads an entry of `/proc/self/status`, which is in KiB, and returns it in bytes.
fn of_process(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let number = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    number.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_in_use_is_counted() {
        let before = resident();
        let block = std::hint::black_box(vec![1_u8; 64 << 20]);
        let after = resident();
        assert!(after >= before + block.len() as u64 / 2, "{before} to {after}");
        assert!(peak(Device::Cpu) >= after);
    }
}
