//! What has no safe door: the one module that may hold unsafe code.

use libmimalloc_sys as mimalloc;

/// `mi_option_purge_delay` of mimalloc.h: for how many milliseconds what is free is kept. The bindings do not name it.
const PURGE_DELAY: mimalloc::mi_option_t = 15;

/// Has the allocator, where it is mimalloc, give memory back as soon as it is free, and not after a second: what a process
/// takes is then what it needs, and not what it needed in its last bursts. `MIMALLOC_PURGE_DELAY` goes before it.
///
/// The place for it is the beginning of a program, while it has one thread.
pub fn give_back_at_once() {
    // SAFETY: it takes a known option and any number, and writes one aligned word, which is read whole.
    unsafe { mimalloc::mi_option_set_default(PURGE_DELAY, 0) }
}

#[cfg(test)]
mod tests {
    use super::{PURGE_DELAY, give_back_at_once, mimalloc};

    /// The number is that of the header only as long as the library counts as we do: a second is its default, and that of
    /// no other option.
    #[test]
    fn what_is_free_is_given_back_at_once() {
        // SAFETY: a known option is read.
        let delay = || unsafe { mimalloc::mi_option_get(PURGE_DELAY) };
        let neighbours = [PURGE_DELAY - 1, PURGE_DELAY + 1];
        // SAFETY: known options are read.
        let around = || neighbours.map(|option| unsafe { mimalloc::mi_option_get(option) });
        let before = around();
        assert_eq!(delay(), 1_000);
        assert!(!before.contains(&1_000));
        give_back_at_once();
        assert_eq!((delay(), around()), (0, before));
    }
}
