package netlab

import (
	"cmp"
	"fmt"
	"os"
	"time"
)

// envMachine is the name of the Machine that the tests run on. Without it, it is
// native.
const envMachine = "TIDELAY_MACHINE"

// A Machine is a kind of computer that tests run on. What a test counts, and in
// which order things come, is the same on all of them, and no packet may be
// early on any. They differ in how late a packet may be.
type Machine struct {
	Name string
	// Guest says that the kernel is the test's own, and so is its clock.
	Guest bool
	// Share is the quantile of a series of times that is compared with what it
	// should be: see Typical.
	Share float64
	// Lag is how much later than on a native machine a typical time may be.
	Lag time.Duration
	// Marking is a delay by which packets that meet a fault are told from others:
	// longer than a busy machine keeps one waiting, where one CPU does everything
	// above all.
	Marking time.Duration
	// SteadyPace is the time between the datagrams of a flow that is to notice any
	// gap. With one CPU some of what is sent faster is lost and late.
	SteadyPace time.Duration
	// Jitter is one beside which it matters little how late the machine is.
	Jitter time.Duration
	// Stream is what one TCP stream carries at least under a delay of 20 ms, in
	// bit/s. With one slow CPU for both ends it is less. Where a constant delay
	// reorders, a stream carries 2 Mbit/s, on a native machine too.
	Stream float64
	// Patience is how long the answer to kubelet may take while the agent has much
	// to do: the second that kubelet waits, and longer where the CPU is slower.
	Patience time.Duration
	// SlowStart says that a process takes long to start, so that tests that start
	// many do it less often.
	SlowStart bool
}

// The machines that hack/kernel-test.sh starts tests on.
var machines = []Machine{
	{
		Name: "native", Share: 0.5, Marking: 150 * time.Millisecond, SteadyPace: time.Millisecond, Jitter: 20 * time.Millisecond,
		Stream: 200e6, Patience: time.Second,
	},
	// User Mode Linux computes as fast, and is slow at every system call.
	{
		Name: "uml", Guest: true, Share: 0.5, Marking: 400 * time.Millisecond, SteadyPace: 4 * time.Millisecond, Jitter: 100 * time.Millisecond,
		Stream: 20e6, Patience: time.Second, SlowStart: true,
	},
	// An emulated CPU computes at a tenth of the speed, and stands still while the
	// computer that emulates it does something else.
	{
		Name: "qemu", Guest: true, Share: 0.1, Lag: 10 * time.Millisecond, Marking: 400 * time.Millisecond,
		SteadyPace: 10 * time.Millisecond, Jitter: 200 * time.Millisecond, Stream: 10e6, Patience: 10 * time.Second, SlowStart: true,
	},
}

// Typical is the one of a series of times that says most of the fault and least
// of the machine: the median, and where most of them are late, one of the first.
func (m Machine) Typical(times []time.Duration) time.Duration { return Quantile(times, m.Share) }

// ThisMachine is the one that the environment names. It panics where there is none
// of that name.
func ThisMachine() Machine {
	m, err := machine(os.Getenv(envMachine))
	if err != nil {
		panic("netlab: " + err.Error())
	}
	return m
}

func machine(name string) (Machine, error) {
	for _, m := range machines {
		if m.Name == cmp.Or(name, machines[0].Name) {
			return m, nil
		}
	}
	return Machine{}, fmt.Errorf("%s is %q: want native, uml or qemu", envMachine, name)
}
