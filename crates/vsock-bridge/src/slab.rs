//! A table of objects named by small integers that are not soon used again: a handle holds its slot's generation, and a
//! free slot waits behind others before it is reused.

use std::collections::VecDeque;

const INDEX_BITS: u32 = 20;
const INDEX_MASK: u32 = (1 << INDEX_BITS) - 1;
const GENERATIONS: u32 = 1 << 11;
/// Free slots kept before one is reused, so that a handle comes back after 2,047 times as many closes at the least.
const KEEP_FREE: usize = 256;

struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

pub struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: VecDeque<u32>,
    used: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Slab { slots: Vec::new(), free: VecDeque::new(), used: 0 }
    }
}

impl<T> Slab<T> {
    /// The handle (positive), or the value back when all slots are taken.
    pub fn insert(&mut self, value: T) -> Result<i32, T> {
        let full = self.slots.len() > INDEX_MASK as usize;
        let index = if self.free.len() > KEEP_FREE || full {
            match self.free.pop_front() {
                Some(index) => index,
                None => return Err(value),
            }
        } else {
            self.slots.push(Slot { generation: 1, value: None });
            self.slots.len() as u32 - 1
        };
        let slot = &mut self.slots[index as usize];
        slot.value = Some(value);
        self.used += 1;
        Ok((slot.generation << INDEX_BITS | index) as i32)
    }

    pub fn get(&self, handle: i32) -> Option<&T> {
        let slot = self.slots.get((handle as u32 & INDEX_MASK) as usize)?;
        if handle <= 0 || slot.generation != handle as u32 >> INDEX_BITS {
            return None;
        }
        slot.value.as_ref()
    }

    pub fn get_mut(&mut self, handle: i32) -> Option<&mut T> {
        let slot = self.slots.get_mut((handle as u32 & INDEX_MASK) as usize)?;
        if handle <= 0 || slot.generation != handle as u32 >> INDEX_BITS {
            return None;
        }
        slot.value.as_mut()
    }

    pub fn remove(&mut self, handle: i32) -> Option<T> {
        self.get(handle)?;
        let index = handle as u32 & INDEX_MASK;
        let slot = &mut self.slots[index as usize];
        slot.generation = if slot.generation + 1 == GENERATIONS { 1 } else { slot.generation + 1 };
        self.free.push_back(index);
        self.used -= 1;
        slot.value.take()
    }

    pub fn len(&self) -> usize {
        self.used
    }

    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    pub fn clear(&mut self) {
        *self = Slab::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_handles_find_nothing() {
        let mut slab = Slab::default();
        let mut old = Vec::new();
        for round in 0..3000 {
            let handle = slab.insert(round).unwrap();
            assert!(handle > 0);
            assert_eq!(slab.get(handle), Some(&round));
            assert_eq!(slab.remove(handle), Some(round));
            assert_eq!(slab.remove(handle), None);
            old.push(handle);
        }
        let live = slab.insert(-1).unwrap();
        assert_eq!(slab.len(), 1);
        for handle in old {
            assert_ne!(handle, live);
            assert_eq!(slab.get(handle), None);
            assert_eq!(slab.get_mut(handle), None);
        }
        for wrong in [0, -1, i32::MIN, i32::MAX, 12345] {
            assert_eq!(slab.get(wrong), None);
        }
    }

    #[test]
    fn generations_wrap_without_zero() {
        let mut slab = Slab::default();
        for _ in 0..(GENERATIONS as usize + 5) * (KEEP_FREE + 1) {
            let handle = slab.insert(()).unwrap();
            assert!(handle > 0 && handle as u32 >> INDEX_BITS != 0);
            slab.remove(handle);
        }
        assert!(slab.is_empty() && slab.slots.len() <= KEEP_FREE + 2);
    }
}
