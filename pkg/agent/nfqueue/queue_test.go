//go:build linux

package nfqueue

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/fault"
)

const ms = time.Millisecond

// left is a packet that left the kernel's queue.
type left struct {
	id   uint32
	drop bool
}

// queueTest is a queue with the kernel's side of it and a clock.
type queueTest struct {
	t *testing.T
	*queue
	out        *verdicts
	now        time.Duration
	last       uint32   // id of the packet that arrived last
	waitingIDs []uint32 // in the kernel
	left       []left
	device     uint32 // of packets that arrive
}

func newQueueTest(t *testing.T, i fault.Impairment, limit uint32) *queueTest {
	t.Helper()
	q := &queueTest{t: t, queue: &queue{number: 7, emulator: newEmulator(i), limit: limit}}
	q.out = newVerdicts(q.carryOut)
	return q
}

// carryOut does what the kernel does with verdicts.
func (q *queueTest) carryOut(m message) error {
	for ; len(m) > 0; m = m[verdictLen:] {
		kind, verdict, id := binary.NativeEndian.Uint16(m[4:]), binary.BigEndian.Uint32(m[headerLen+4:]), binary.BigEndian.Uint32(m[headerLen+8:])
		q.waitingIDs = slices.DeleteFunc(q.waitingIDs, func(one uint32) bool {
			leaves := one == id || kind == typeVerdictBatch && int32(one-id) <= 0
			if leaves {
				q.left = append(q.left, left{one, verdict == verdictDrop})
			}
			return leaves
		})
	}
	return nil
}

// arrive makes packets of a size arrive.
func (q *queueTest) arrive(count int, size uint32) {
	for range count {
		q.last++
		q.waitingIDs = append(q.waitingIDs, q.last)
		q.enqueue(packet{queue: 7, id: q.last, size: size, device: q.device}, q.now, q.out)
	}
	q.pass(0)
}

// pass lets time pass and returns what left.
func (q *queueTest) pass(d time.Duration) []left {
	q.t.Helper()
	q.now += d
	before := len(q.left)
	q.releaseDue(q.now, math.MaxUint32, q.out)
	if err := q.out.flush(); err != nil {
		q.t.Fatal(err)
	}
	if int(q.waiting()) != len(q.waitingIDs) {
		q.t.Errorf("the queue counts %d packets, the kernel %d", q.waiting(), len(q.waitingIDs))
	}
	return q.left[before:]
}

func ids(all []left) []uint32 {
	var list []uint32
	for _, one := range all {
		list = append(list, one.id)
	}
	return list
}

func TestAConstantDelayKeepsTheOrder(t *testing.T) {
	q := newQueueTest(t, fault.Impairment{Delay: 20 * ms}, 1000)
	q.arrive(2, 0)
	q.now += 5 * ms
	q.arrive(1, 0)
	if got := q.pass(15*ms - 1); len(got) != 0 {
		t.Errorf("%v left early", got)
	}
	if got := ids(q.pass(1)); !slices.Equal(got, []uint32{1, 2}) {
		t.Errorf("after 20ms %v left", got)
	}
	if deadline, ok := q.nextDeadline(); !ok || deadline != 25*ms {
		t.Errorf("next is due at %s, %t", deadline, ok)
	}
	if got := ids(q.pass(5 * ms)); !slices.Equal(got, []uint32{3}) || q.early != 0 {
		t.Errorf("after 25ms %v left, %d early", got, q.early)
	}
}

// A delay of minutes that was set by mistake ends with the next one.
func TestAShorterDelayAppliesAtOnce(t *testing.T) {
	for name, first := range map[string]fault.Impairment{
		"constant": {Delay: 10 * time.Minute},
		"jitter":   {Delay: 10 * time.Minute, Jitter: ms, Distribution: fault.Uniform},
	} {
		q := newQueueTest(t, first, 1000)
		q.arrive(3, 0)
		q.setImpairment(fault.Impairment{Delay: 5 * ms}, 1000, q.now)
		q.arrive(2, 0)
		if got := q.pass(5*ms - 1); len(got) != 0 {
			t.Errorf("%s: %v left early", name, got)
		}
		if got := ids(q.pass(1)); !slices.Equal(got, []uint32{1, 2, 3, 4, 5}) {
			t.Errorf("%s: %v left after 5ms", name, got)
		}
	}
}

// A longer delay is for packets that arrive later. No packet overtakes.
func TestALongerDelayIsForLaterPackets(t *testing.T) {
	q := newQueueTest(t, fault.Impairment{Delay: 5 * ms}, 1000)
	q.arrive(1, 0)
	q.setImpairment(fault.Impairment{Delay: 50 * ms}, 1000, q.now)
	q.arrive(1, 0)
	if got := ids(q.pass(5 * ms)); !slices.Equal(got, []uint32{1}) {
		t.Errorf("%v left after 5ms", got)
	}
	if got := ids(q.pass(45 * ms)); !slices.Equal(got, []uint32{2}) {
		t.Errorf("%v left after 50ms", got)
	}
}

// The impairment changes from any kind to any other while packets of both wait.
// Every packet leaves exactly once.
func TestEveryPacketLeavesOnceWhateverChanges(t *testing.T) {
	kinds := []fault.Impairment{
		{Delay: 20 * ms},
		{Delay: 3 * ms},
		{Delay: 20 * ms, Jitter: 10 * ms, Distribution: fault.Normal},
		{Delay: 5 * ms, Reorder: &fault.Reorder{Percent: fault.Hundred / 2, Gap: 1}},
		{Loss: &fault.Chance{Percent: fault.Hundred / 4}},
		{Delay: ms, Rate: &fault.Rate{BitsPerSecond: 10_000_000}},
	}
	random := rand.New(rand.NewPCG(1, 2))
	q := newQueueTest(t, kinds[0], 100_000)
	for range 2000 {
		switch random.IntN(4) {
		case 0:
			q.setImpairment(kinds[random.IntN(len(kinds))], 100_000, q.now)
		case 1:
			q.pass(time.Duration(random.IntN(10)) * ms)
		default:
			q.arrive(random.IntN(20), 100)
		}
	}
	q.setImpairment(fault.Impairment{}, 100_000, q.now)
	q.pass(0)
	seen := make(map[uint32]bool)
	for _, one := range q.left {
		if seen[one.id] {
			t.Fatalf("packet %d left twice", one.id)
		}
		seen[one.id] = true
	}
	if len(seen) != int(q.last) || len(q.waitingIDs) != 0 {
		t.Errorf("%d of %d packets left, %d wait", len(seen), q.last, len(q.waitingIDs))
	}
}

func TestTooManyPacketsLeaveEarly(t *testing.T) {
	for name, i := range map[string]fault.Impairment{
		"constant": {Delay: time.Second},
		"jitter":   {Delay: time.Second, Jitter: 1, Distribution: fault.Uniform},
	} {
		q := newQueueTest(t, i, 10)
		for range 15 {
			q.now++
			q.arrive(1, 0)
		}
		if q.waiting() != 10 || q.early != 5 || q.dropped != 0 {
			t.Errorf("%s: %d wait, %d left early, %d dropped", name, q.waiting(), q.early, q.dropped)
		}
	}
}

// A packet whose message found no room passes. Its id is missing.
func TestMissingIDsAreCounted(t *testing.T) {
	q := newQueueTest(t, fault.Impairment{Delay: ms}, 10)
	q.arrive(1, 0)
	q.last += 3
	q.arrive(1, 0)
	if q.early != 3 {
		t.Errorf("%d counted, want 3", q.early)
	}
	if got := ids(q.pass(ms)); !slices.Equal(got, []uint32{1, 5}) {
		t.Errorf("%v left", got)
	}
}

func TestIDsWrapRound(t *testing.T) {
	for name, i := range map[string]fault.Impairment{
		"constant": {Delay: ms},
		"jitter":   {Delay: ms, Jitter: 1, Distribution: fault.Uniform},
	} {
		q := newQueueTest(t, i, 100)
		q.last, q.newest = 0xfffffffd, 0xfffffffd
		q.arrive(5, 0)
		if got := q.pass(2 * ms); len(got) != 5 || q.early != 0 {
			t.Errorf("%s: %v left, %d early", name, got, q.early)
		}
	}
}

func TestARateSpacesPackets(t *testing.T) {
	// 8 Mbit/s is a byte per microsecond; 986 bytes and a header of 14 are 1 ms.
	q := newQueueTest(t, fault.Impairment{Delay: 10 * ms, Rate: &fault.Rate{BitsPerSecond: 8_000_000}}, 1000)
	q.arrive(3, 986)
	for n, after := range []time.Duration{11 * ms, ms, ms} {
		if got := q.pass(after - 1); len(got) != 0 {
			t.Errorf("packet %d: %v left early", n, got)
		}
		if got := ids(q.pass(1)); !slices.Equal(got, []uint32{uint32(n + 1)}) {
			t.Errorf("packet %d: %v left", n, got)
		}
	}
}

func TestTheQueueOfARateDropsWhatDoesNotFit(t *testing.T) {
	rate := fault.Impairment{Rate: &fault.Rate{BitsPerSecond: 8_000_000}}
	for size, fit := range map[uint32]uint32{1486: 333, 86: 5000, 65_521: 7} { // half a second of 1 MB/s
		q := newQueueTest(t, rate, packetLimit(256<<20))
		q.arrive(6000, size)
		if q.waiting() != fit || q.dropped != uint64(6000-fit) || q.early != 0 {
			t.Errorf("of %d bytes %d wait, %d dropped, %d early; want %d to wait", size, q.waiting(), q.dropped, q.early, fit)
		}
	}
}

// What waits for the delay behind the link takes no room before it.
func TestADelayLeavesTheQueueOfARateAlone(t *testing.T) {
	slow := fault.Impairment{Delay: 2 * time.Second, Rate: &fault.Rate{BitsPerSecond: 8_000_000}}
	q := newQueueTest(t, slow, packetLimit(256<<20))
	for range 4 { // 400 ms of the link at a time
		q.arrive(267, 1486)
		q.pass(400 * ms)
	}
	if q.dropped != 0 || q.waiting() != 4*267 {
		t.Errorf("%d dropped, %d wait", q.dropped, q.waiting())
	}
}

// Each interface is a link of its own, also while the rate changes.
func TestARateIsALinkPerInterface(t *testing.T) {
	q := newQueueTest(t, fault.Impairment{Rate: &fault.Rate{BitsPerSecond: 8_000_000}}, 1000) // 1 us a byte
	for _, q.device = range []uint32{2, 3} {
		q.arrive(2, 986)
	}
	if got := ids(q.pass(ms)); !slices.Equal(got, []uint32{1, 3}) {
		t.Errorf("%v left, want the first of each interface", got)
	}
	q.setImpairment(fault.Impairment{Rate: &fault.Rate{BitsPerSecond: 16_000_000}}, 1000, q.now)
	q.arrive(1, 986) // behind what waits on its interface
	if got := ids(q.pass(ms / 2)); !slices.Equal(got, []uint32{2, 4}) {
		t.Errorf("%v left, want the second of each interface", got)
	}
	if got := ids(q.pass(ms / 2)); !slices.Equal(got, []uint32{5}) {
		t.Errorf("%v left, want the last", got)
	}
	for q.device = range uint32(1000) { // interfaces that come and go
		q.arrive(1, 986)
		q.pass(ms)
	}
	if n := len(q.emulator.linkIdleAt); n > 2 {
		t.Errorf("%d links are remembered", n)
	}
}

// A link takes at least one packet, however large it is.
func TestAnIdleLinkTakesAnyPacket(t *testing.T) {
	q := newQueueTest(t, fault.Impairment{Rate: &fault.Rate{BitsPerSecond: 8_000}}, 1000)
	q.arrive(1, 65_000)
	q.arrive(1, 1486)
	if q.waiting() != 1 || q.dropped != 1 {
		t.Errorf("%d wait, %d dropped", q.waiting(), q.dropped)
	}
}

func TestPacketLimit(t *testing.T) {
	for memory, want := range map[uint64]uint32{0: 1, 1 << 20: 512, 256 << 20: 131_072, 1 << 62: 1 << 24} {
		if got := packetLimit(memory); got != want {
			t.Errorf("%d bytes: %d, want %d", memory, got, want)
		}
	}
}

// The memory of a burst is given back.
func TestMemoryIsGivenBack(t *testing.T) {
	for name, i := range map[string]fault.Impairment{
		"constant": {Delay: ms},
		"jitter":   {Delay: 2 * ms, Jitter: ms, Distribution: fault.Normal},
	} {
		q := newQueueTest(t, i, 1<<20)
		for range 2 * keptCapacity {
			q.now++
			q.arrive(1, 0)
		}
		q.pass(time.Second)
		if len(q.fifo.bursts) > keptCapacity || cap(q.heap) > keptCapacity {
			t.Errorf("%s: room for %d bursts and %d packets after all have left", name, len(q.fifo.bursts), cap(q.heap))
		}
	}
}

func BenchmarkQueue(b *testing.B) {
	for name, i := range map[string]fault.Impairment{
		"constant": {Delay: 20 * ms},
		"jitter":   {Delay: 20 * ms, Jitter: 5 * ms, Distribution: fault.Normal},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			q := &queue{number: 7, emulator: newEmulator(i), limit: 1 << 20}
			out := newVerdicts(func(message) error { return nil })
			var now time.Duration
			for n := range b.N {
				now += 10 * time.Microsecond
				q.enqueue(packet{queue: 7, id: uint32(n + 1)}, now, out)
				q.releaseDue(now, math.MaxUint32, out)
			}
		})
	}
}
