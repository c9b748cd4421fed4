//! The memory that the program takes.

use bfn_nets::device;
use tch::Device;

/// The most memory that was in use at one time, in bytes: of the GPU where the network is on one, else of the process.
///
/// 0 where the system keeps no count.
pub fn peak(device: Device) -> u64 {
    device::peak_memory(device).ok().flatten().unwrap_or_else(|| of_process("VmHWM:"))
}

/// The memory of the process that is in use now, in bytes; 0 where the system keeps no count.
pub fn resident() -> u64 {
    of_process("VmRSS:")
}

/// A line of `/proc/self/status`, which counts in KiB.
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
