//! Lists that callers hold until they free them.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// The lists that are out, by their addresses. Holds no memory while it is empty.
static LISTS: Mutex<BTreeMap<usize, Box<[u16]>>> = Mutex::new(BTreeMap::new());

/// Keeps a list until it is freed; where it stands.
pub(super) fn keep(list: Vec<u16>) -> *mut u16 {
    let mut list = list.into_boxed_slice();
    let place = list.as_mut_ptr();
    LISTS.lock().unwrap_or_else(PoisonError::into_inner).insert(place.addr(), list);
    place
}

/// Frees a list. What is none of ours, or was freed already, is left alone.
pub(super) fn free(place: usize) {
    let list = LISTS.lock().unwrap_or_else(PoisonError::into_inner).remove(&place);
    drop(list);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_freed_once_and_nothing_else_is() {
        let place = keep(vec![1, 2, 0]);
        assert!(!place.is_null());
        free(place.addr());
        free(place.addr());
        free(0);
        free(12345);
    }
}
