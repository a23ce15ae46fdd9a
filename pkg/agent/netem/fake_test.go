package netem

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"github.com/tidelay/tidelay/pkg/fault"
)

const device = "eth0"

var (
	egress  = attachPoint{device, fault.Egress}
	ingress = attachPoint{device, fault.Ingress}
)

// fakeKernel is a kernel in memory with one device. It answers to changes as the
// real one does and refuses what that refuses; see fake_change_test.go.
type fakeKernel struct {
	t     testing.TB
	trees map[attachPoint]*foundTree
	// filters are what is on the roots, in order of their numbers. The blocks of the
	// trees are read from them, as from the real kernel.
	filters map[attachPoint][]u32
	stale   map[attachPoint]bool // the blocks are to be read again
	hook    hook
	// missing is set while the device is not there; replaced counts how often it
	// was made anew, which gives it another index.
	missing  bool
	replaced int
	// beforeChange is called before every change; its error is the answer.
	beforeChange func(o op) error
	// refusesDuplicateBeside refuses a duplicating netem beside another one.
	refusesDuplicateBeside bool
	// onReset is called when a change drops packets while there are faults.
	onReset func(o op)
	// ops are the changes that were made.
	ops []op
}

func newFake(t testing.TB) *fakeKernel {
	k := &fakeKernel{t: t}
	k.plug()
	return k
}

// plug makes the device, without anything on it.
func (k *fakeKernel) plug() {
	k.trees, k.filters, k.hook = make(map[attachPoint]*foundTree), make(map[attachPoint][]u32), hook{}
	k.stale = make(map[attachPoint]bool)
	for _, p := range []attachPoint{egress, ingress} {
		k.trees[p] = &foundTree{attachPoint: p, link: device, mtu: 1500, netems: make(map[uint8]netemQdisc)}
	}
	k.trees[ingress].link, k.trees[egress].receives = ifbName(2), true
}

// engine returns a new engine for this kernel, as a new process has it.
func (k *fakeKernel) engine(lacks map[fault.Feature]string) *Engine {
	exempt := fault.Exemption{ControlPort: 2332, NodeAddrs: []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")}, ProbePorts: []uint16{4000}}
	e := New(fault.Scope{Devices: []string{device}, Exempt: exempt}, 256<<20, lacks, slog.New(slog.DiscardHandler))
	e.dial = func() (kernel, error) { return k, nil }
	return e
}

func (k *fakeKernel) close() {}

// read returns a copy.
func (k *fakeKernel) read([]string, bool) (foundDevices, error) {
	if k.missing {
		return foundDevices{}, nil
	}
	d := foundDevice{index: 2 + k.replaced, egress: k.copy(egress), ingress: k.copy(ingress), hook: k.hook}
	d.ingress.receives = k.redirectsAll()
	return foundDevices{device: d}, nil
}

// redirectsAll reports whether what arrives comes to the ingress tree.
func (k *fakeKernel) redirectsAll() bool {
	return k.trees[ingress].hasIFB && k.trees[ingress].ifbIsUp && k.hook.redirectsAll()
}

// copy returns what the kernel reports of a tree.
func (k *fakeKernel) copy(p attachPoint) foundTree {
	k.readBlocks(k.trees[p])
	t := *k.trees[p]
	t.netems = maps.Clone(t.netems)
	for band, n := range t.netems {
		n.setting.distribution = ""
		if !n.setting.seeded { // a seed of the kernel's own choice
			n.setting.seed, n.setting.seeded = 0xfeed, true
		}
		t.netems[band] = n
	}
	for f := range families {
		t.blocks[f] = slices.Clone(t.blocks[f])
		for i := range t.blocks[f] {
			t.blocks[f][i].filters = slices.Clone(t.blocks[f][i].filters)
		}
	}
	return t
}

func (k *fakeKernel) waiting(foundTree, []uint8) (uint64, error) { return 0, nil }

func (k *fakeKernel) do(o op) error {
	if k.beforeChange != nil {
		if err := k.beforeChange(o); err != nil {
			return err
		}
	}
	k.ops = append(k.ops, o)
	err := k.changeHook(o)
	for _, t := range k.trees {
		err = errors.Join(err, k.changeTree(t, o))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", o, err)
	}
	return nil
}

// failAt makes the n-th change from now fail. With kill, all after it fail too,
// as for a process that is killed.
func (k *fakeKernel) failAt(n int, kill bool) {
	count := 0
	k.beforeChange = func(op) error {
		count++
		if count == n || kill && count > n {
			return errInjected
		}
		return nil
	}
}

var errInjected = errors.New("injected")
