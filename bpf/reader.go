package bpf

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Bits and sizes of the kernel's ring buffer, from include/uapi/linux/bpf.h.
const (
	ringBusy       = 1 << 31
	ringDiscarded  = 1 << 30
	ringHeaderSize = 8
)

// Reader hands out the records of the ring buffer without copying them. One
// goroutine may use it at a time; Close may be called from any.
//
// It sleeps between looks into the ring instead of being woken for each record:
// wake-ups cost the node more than the record itself. The kernel wakes it when
// the ring fills by another sixteenth.
type Reader struct {
	file   *os.File
	raw    syscall.RawConn
	ready  func(uintptr) bool // for raw.Read, made once
	maps   *ringMaps
	closed atomic.Bool

	mask     uint64
	pos      uint64 // of the next record
	released uint64 // what the kernel knows of pos

	busy, idle time.Duration
	interval   time.Duration
	sinceWait  int // records since the last wait

	records uint64
	bad     uint64
}

// ringMaps are the memory mappings of a ring buffer.
type ringMaps struct {
	consumer, producer []byte
	data               []byte // part of producer
}

func (m *ringMaps) consumerPos() *uint64 {
	return (*uint64)(unsafe.Pointer(unsafe.SliceData(m.consumer)))
}
func (m *ringMaps) producerPos() *uint64 {
	return (*uint64)(unsafe.Pointer(unsafe.SliceData(m.producer)))
}

func (m *ringMaps) unmap() error {
	return errors.Join(unix.Munmap(m.consumer), unix.Munmap(m.producer))
}

// mapRing maps the ring's two position pages and its data. The kernel offers the
// data twice in a row, so that no record is broken at the end; of the second
// copy only what the longest record needs is mapped, as mapped pages count as
// this process's memory.
func mapRing(fd, size int) (*ringMaps, error) {
	page := os.Getpagesize()
	consumer, err := unix.Mmap(fd, 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map ring buffer position: %w", err)
	}
	longest := MaxPayload + 64<<10
	tail := min(size, (longest+page-1)/page*page)
	producer, err := unix.Mmap(fd, int64(page), page+size+tail, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("map ring buffer: %w", err), unix.Munmap(consumer))
	}
	return &ringMaps{consumer, producer, producer[page:]}, nil
}

const (
	defaultPollBusy = 20 * time.Millisecond
	defaultPollIdle = 100 * time.Millisecond
)

func newReader(ring *ebpf.Map, cfg Config) (*Reader, error) {
	r := &Reader{busy: cfg.PollBusy, idle: cfg.PollIdle, mask: uint64(ring.MaxEntries()) - 1}
	if r.busy <= 0 {
		r.busy = defaultPollBusy
	}
	if r.idle <= 0 {
		r.idle = defaultPollIdle
	}
	r.idle = max(r.idle, r.busy)
	r.interval = r.busy

	// A descriptor of our own in the runtime's poller: waiting takes no thread,
	// honours deadlines, and Close ends it.
	fd, err := unix.FcntlInt(uintptr(ring.FD()), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("duplicate ring buffer descriptor: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(fmt.Errorf("ring buffer descriptor: %w", err), unix.Close(fd))
	}
	r.file = os.NewFile(uintptr(fd), "ring buffer")
	if err := r.file.SetReadDeadline(time.Time{}); err != nil {
		return nil, errors.Join(fmt.Errorf("wait for the ring buffer: %w", err), r.file.Close())
	}
	if r.raw, err = r.file.SyscallConn(); err != nil {
		return nil, errors.Join(fmt.Errorf("wait for the ring buffer: %w", err), r.file.Close())
	}
	if r.maps, err = mapRing(fd, int(ring.MaxEntries())); err != nil {
		return nil, errors.Join(err, r.file.Close())
	}
	maps := r.maps
	r.ready = func(uintptr) bool {
		return atomic.LoadUint64(maps.producerPos()) != atomic.LoadUint64(maps.consumerPos())
	}
	r.pos = atomic.LoadUint64(r.maps.consumerPos())
	r.released = r.pos
	runtime.AddCleanup(r, func(m *ringMaps) { _ = m.unmap() }, r.maps)
	return r, nil
}

// Read waits for the next record. It returns os.ErrClosed after Close, and
// otherwise no error.
func (r *Reader) Read(rec *Record) error {
	for {
		ok, err := r.TryRead(rec)
		if ok || err != nil {
			return err
		}
		if err := r.Wait(); err != nil {
			return err
		}
	}
}

// TryRead returns the next record if there is one. The memory of the record
// before it goes back to the kernel.
func (r *Reader) TryRead(rec *Record) (bool, error) {
	for {
		if r.closed.Load() {
			return false, os.ErrClosed
		}
		producer := atomic.LoadUint64(r.maps.producerPos())
		if r.pos == producer {
			r.release()
			return false, nil
		}
		start := r.pos & r.mask
		// Atomic, so that the record is seen complete once the busy bit is gone.
		n := atomic.LoadUint32((*uint32)(unsafe.Pointer(&r.maps.data[start])))
		if n&ringBusy != 0 {
			r.release()
			return false, nil
		}
		size := uint64(n &^ (ringBusy | ringDiscarded))
		// Not before the last record's memory is done with, which is now.
		if r.pos-r.released > r.mask>>4 {
			r.release()
		}
		r.pos += ringHeaderSize + (size+7)&^7
		if n&ringDiscarded != 0 {
			continue
		}
		start += ringHeaderSize
		if err := rec.parse(r.maps.data[start : start+size : start+size]); err != nil {
			r.bad++
			continue
		}
		rec.remaining = int(producer - r.pos)
		r.records++
		r.sinceWait++
		return true, nil
	}
}

// release tells the kernel that everything before pos can be overwritten.
func (r *Reader) release() {
	if r.released != r.pos {
		atomic.StoreUint64(r.maps.consumerPos(), r.pos)
		r.released = r.pos
	}
}

// busyRecords is how many records between two waits are load rather than calm.
const busyRecords = 16

// Wait sleeps until there may be records: when the kernel says the ring fills, or
// after a time that depends on the load. The last record's memory goes back to
// the kernel. It returns os.ErrClosed after Close.
func (r *Reader) Wait() error {
	if r.closed.Load() {
		return os.ErrClosed
	}
	r.release()
	if r.sinceWait >= busyRecords {
		r.interval = r.busy
	} else {
		r.interval = min(2*r.interval, r.idle)
	}
	r.sinceWait = 0
	if r.ready(0) {
		// The oldest record is still being written: a copy of some
		// microseconds, or a page fault of the node.
		time.Sleep(busyWait) //nolint:forbidigo // nothing tells when it is written
		return nil
	}
	if err := r.file.SetReadDeadline(time.Now().Add(r.interval)); err != nil {
		return r.waitError(err)
	}
	if err := r.raw.Read(r.ready); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return r.waitError(err)
	}
	return nil
}

const busyWait = 100 * time.Microsecond

func (r *Reader) waitError(err error) error {
	if r.closed.Load() {
		return os.ErrClosed
	}
	return fmt.Errorf("wait for the ring buffer: %w", err)
}

// Close ends a Read or Wait under way and makes all further ones return
// os.ErrClosed. A record that was read stays valid as long as the Reader is
// referenced.
func (r *Reader) Close() error {
	if r.closed.Swap(true) {
		return nil
	}
	return r.file.Close()
}

// ReaderStats are totals of a Reader.
type ReaderStats struct {
	Records uint64 // handed out
	Bad     uint64 // not understood and skipped: always 0, or there is a bug
}

// Stats returns the totals. It is for the goroutine that reads.
func (r *Reader) Stats() ReaderStats { return ReaderStats{r.records, r.bad} }
