//! Memory of JavaScript that native calls may use, by id. Every use goes through a checked range.

use crate::sys::Res;
use napi::sys;

/// A checked range of registered memory. It stays valid for the native call that asked for it: JavaScript does not run
/// meanwhile, and the registry holds a reference on the memory.
#[derive(Clone, Copy)]
pub struct Span {
    ptr: *mut u8,
    len: usize,
}

impl Span {
    pub const EMPTY: Span = Span { ptr: std::ptr::NonNull::dangling().as_ptr(), len: 0 };

    /// # Safety
    /// The memory must be valid for reads and writes as long as the span is in use.
    pub unsafe fn from_raw(ptr: *mut u8, len: usize) -> Span {
        Span { ptr, len }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn ptr(&self) -> *mut u8 {
        self.ptr
    }

    pub fn iovec(&self) -> libc::iovec {
        libc::iovec { iov_base: self.ptr.cast(), iov_len: self.len }
    }

    /// The part `[from, to)`, clipped to the span.
    pub fn part(&self, from: usize, to: usize) -> Span {
        let to = to.min(self.len);
        let from = from.min(to);
        Span { ptr: self.ptr.wrapping_add(from), len: to - from }
    }

    pub fn bytes(&self) -> &[u8] {
        // SAFETY: valid for the call (see above); nothing writes the range while the slice lives, for the users of
        // `bytes` and `write` take turns on one thread.
        unsafe { std::slice::from_raw_parts(self.ptr, self.len) }
    }

    /// Copies `data` to `at`; false when it does not fit.
    pub fn write(&self, at: usize, data: &[u8]) -> bool {
        if at > self.len || data.len() > self.len - at {
            return false;
        }
        // SAFETY: the destination is inside the span (checked); `copy` allows that both overlap.
        unsafe { std::ptr::copy(data.as_ptr(), self.ptr.add(at), data.len()) };
        true
    }
}

/// A registered buffer seen as 32-bit integers.
#[derive(Clone, Copy)]
pub struct Ints(Span);

impl Ints {
    pub fn len(&self) -> usize {
        self.0.len / 4
    }

    /// The value at `i`; 0 outside.
    pub fn get(&self, i: usize) -> i32 {
        if i >= self.len() {
            return 0;
        }
        // SAFETY: inside the span (checked); unaligned reads are allowed for.
        unsafe { self.0.ptr.cast::<i32>().add(i).read_unaligned() }
    }

    /// Stores a value; nothing happens outside.
    pub fn set(&self, i: usize, value: i32) {
        if i < self.len() {
            // SAFETY: inside the span (checked); unaligned writes are allowed for.
            unsafe { self.0.ptr.cast::<i32>().add(i).write_unaligned(value) };
        }
    }
}

struct Buffer {
    span: Span,
    reference: sys::napi_ref,
}

#[derive(Default)]
pub struct Buffers {
    table: Vec<Option<Buffer>>,
    free: Vec<usize>,
}

const MAX_BUFFERS: usize = 1 << 20;

impl Buffers {
    /// Keeps memory under a new id (>= 1).
    pub fn add(&mut self, span: Span, reference: sys::napi_ref) -> Res<i32> {
        let buffer = Some(Buffer { span, reference });
        if let Some(index) = self.free.pop() {
            self.table[index] = buffer;
            return Ok(index as i32 + 1);
        }
        if self.table.len() >= MAX_BUFFERS {
            return Err(libc::ENOMEM);
        }
        self.table.push(buffer);
        Ok(self.table.len() as i32)
    }

    /// Forgets an id; the caller drops the reference.
    pub fn remove(&mut self, id: i32) -> Res<sys::napi_ref> {
        let index = usize::try_from(i64::from(id) - 1).map_err(|_| libc::EINVAL)?;
        let slot = self.table.get_mut(index).ok_or(libc::EINVAL)?;
        let buffer = slot.take().ok_or(libc::EINVAL)?;
        self.free.push(index);
        Ok(buffer.reference)
    }

    pub fn take_all(&mut self) -> Vec<sys::napi_ref> {
        self.free.clear();
        let all = std::mem::take(&mut self.table);
        all.into_iter().flatten().map(|buffer| buffer.reference).collect()
    }

    fn whole(&self, id: i32) -> Res<Span> {
        let index = usize::try_from(i64::from(id) - 1).map_err(|_| libc::EINVAL)?;
        match self.table.get(index) {
            Some(Some(buffer)) => Ok(buffer.span),
            _ => Err(libc::EINVAL),
        }
    }

    /// `length` bytes at `offset` of a buffer. A length of 0 needs no buffer.
    pub fn span(&self, id: i32, offset: i32, length: i32) -> Res<Span> {
        if length == 0 {
            return Ok(Span::EMPTY);
        }
        let whole = self.whole(id)?;
        let from = usize::try_from(offset).map_err(|_| libc::EINVAL)?;
        let length = usize::try_from(length).map_err(|_| libc::EINVAL)?;
        if from > whole.len || length > whole.len - from {
            return Err(libc::EINVAL);
        }
        Ok(whole.part(from, from + length))
    }

    /// The range `[start, end)` of a buffer.
    pub fn range(&self, id: i32, start: i32, end: i32) -> Res<Span> {
        let length = end.checked_sub(start).ok_or(libc::EINVAL)?;
        self.span(id, start, length)
    }

    pub fn ints(&self, id: i32) -> Res<Ints> {
        Ok(Ints(self.whole(id)?))
    }

    /// Integers for `count` entries of `stride`, from entry `start` on.
    pub fn table(&self, id: i32, start: i32, count: i32, stride: usize) -> Res<Ints> {
        let ints = self.ints(id)?;
        let start = usize::try_from(start).map_err(|_| libc::EINVAL)?;
        let count = usize::try_from(count).map_err(|_| libc::EINVAL)?;
        let whole = ints.len() / stride;
        if start > whole || count > whole - start {
            return Err(libc::EINVAL);
        }
        Ok(Ints(ints.0.part(start * stride * 4, (start + count) * stride * 4)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_checked() {
        let mut memory = vec![0u8; 64];
        let mut buffers = Buffers::default();
        // SAFETY: `memory` outlives the test's use.
        let span = unsafe { Span::from_raw(memory.as_mut_ptr(), memory.len()) };
        let id = buffers.add(span, std::ptr::null_mut()).unwrap();
        assert_eq!(id, 1);
        assert_eq!(buffers.span(id, 60, 4).unwrap().len(), 4);
        for (offset, length) in [(61, 4), (-1, 4), (0, 65), (0, -1), (i32::MAX, i32::MAX), (65, 1)] {
            assert!(buffers.span(id, offset, length).is_err(), "{offset} {length}");
        }
        assert!(buffers.range(id, 10, 9).is_err());
        assert!(buffers.range(id, i32::MIN, i32::MAX).is_err());
        for wrong in [0, 2, -1, i32::MIN, i32::MAX] {
            assert!(buffers.span(wrong, 0, 1).is_err());
            assert!(buffers.remove(wrong).is_err());
        }
        assert_eq!(buffers.table(id, 1, 1, 8).unwrap().len(), 8);
        assert!(buffers.table(id, 1, 2, 8).is_err());
        assert!(buffers.table(id, -1, 1, 8).is_err());
        assert!(buffers.remove(id).is_ok());
        assert!(buffers.span(id, 0, 1).is_err());
        assert!(buffers.remove(id).is_err());
    }
}
