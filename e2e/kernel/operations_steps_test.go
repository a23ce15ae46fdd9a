//go:build kernel

package kernel

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/client"
)

// operation is something that can happen to an agent or its pod.
type operation struct {
	name     string
	possible func(w *walk) bool
	do       func(w *walk)
}

func always(*walk) bool     { return true }
func guest(*walk) bool      { return machine.Guest }
func anyFault(w *walk) bool { return len(w.faults) > 0 }

func link(states ...linkState) func(*walk) bool {
	return func(w *walk) bool { return slices.Contains(states, w.net1) }
}

func disk(states ...diskState) func(*walk) bool {
	return func(w *walk) bool { return slices.Contains(states, w.disk) }
}

// operations are all that there are: requests, which are the most frequent, and
// what happens to the agent.
func operations() []operation {
	return append([]operation{
		{"set all", always, (*walk).setAll},
		{"set all", always, (*walk).setAll},
		{"set one", always, (*walk).setOne},
		{"set one", always, (*walk).setOne},
		{"set the latency", always, (*walk).setLatency},
		{"end one", anyFault, (*walk).endOne},
		{"end all", anyFault, (*walk).endAll},
		{"set what is owned", always, (*walk).setOwned},
		{"renew what is owned", func(w *walk) bool { return len(w.faults.ownedBy(owned)) > 0 }, (*walk).renew},
		{"verify", anyFault, (*walk).verify},
		{"set all while net1 flaps", link(up), (*walk).setAllWhileItFlaps},
		{"wait for an end", func(w *walk) bool { return w.faults.nextEnd() != "" }, (*walk).waitForEnd},
		{"kill", always, (*walk).kill},
		{"kill it while it changes", disk(works), (*walk).killWhileItChanges},
	}, events()...)
}

// events need no agent that runs.
func events() []operation {
	return []operation{
		{"make net1", link(absent), (*walk).plug},
		{"delete net1", link(up, down), (*walk).unplug},
		{"net1 down", link(up), func(w *walk) { w.setLink(down) }},
		{"net1 up", link(down), func(w *walk) { w.setLink(up) }},
		{"eth0 down and up", always, (*walk).flapETH0},
		{"fill the disk", disk(works), func(w *walk) { w.setDisk(full) }},
		{"make the disk read-only", disk(works), func(w *walk) { w.setDisk(readOnly) }},
		{"mend the disk", disk(full, readOnly), func(w *walk) { w.setDisk(works) }},
		{"the clock goes forward", guest, func(w *walk) { w.stepClock(time.Hour) }},
		{"the clock goes back", guest, func(w *walk) { w.stepClock(-time.Hour) }},
		{"meddle", anyFault, (*walk).meddle},
	}
}

// choose chooses one of the operations that are possible now.
func (w *walk) choose(all []operation) operation {
	all = slices.DeleteFunc(all, func(o operation) bool { return !o.possible(w) })
	return all[w.random.IntN(len(all))]
}

// places are where faults act: four of nobody, two of an owner, one on net1, and
// one for all packets.
func places(l *lab) []place {
	all := []place{{fault: latency}, {fault: "second", device: "net1", peers: []string{net1Node}}}
	for i := range 6 {
		p := place{fault: fmt.Sprintf("f%d", i), peers: []string{l.bystander.More[i], l.bystander.More6[i]}}
		if i >= 4 {
			p.owner = owned
		}
		all = append(all, p)
	}
	return all
}

// place chooses one that meets a condition.
func (w *walk) place(condition func(place) bool) place {
	all := slices.DeleteFunc(places(w.lab), func(p place) bool { return !condition(p) })
	return all[w.random.IntN(len(all))]
}

func isOwned(p place) bool   { return p.owner == owned }
func isNobodys(p place) bool { return p.owner == "" }

// fault makes one up for a place.
func (w *walk) fault(p place) wanted {
	f := api.Fault{Name: p.fault, Owner: p.owner, Device: p.device, Direction: []string{"egress", "ingress", "both"}[w.random.IntN(3)]}
	switch choice := w.random.IntN(8); {
	case choice < 2:
		f.Partition = true
	case choice < 3 && w.a.lacks("rate") == "":
		f.Rate = &api.Rate{PerSecond: "20mbit"}
	default:
		f.Delay = fmt.Sprintf("%dms", 1+w.random.IntN(30))
	}
	if w.random.IntN(3) == 0 {
		f.Protocol = "icmp"
	}
	f.Peers = slices.Clone(p.peers)
	if len(p.peers) > 0 && w.random.IntN(3) == 0 {
		for i := range w.random.IntN(60) {
			f.Peers = append(f.Peers, fmt.Sprintf("198.51.%d.%d", f.Name[1], i)) // of nobody else
		}
	}
	return wanted{Fault: f, lasts: w.life()}
}

// life is how long a fault lasts: for ever or some seconds.
func (w *walk) life() time.Duration {
	return time.Duration(max(0, w.random.IntN(9)-4)) * time.Second
}

// some makes up faults for some of the places that meet a condition.
func (w *walk) some(condition func(place) bool) faultSet {
	set := make(faultSet)
	for _, p := range places(w.lab) {
		if condition(p) && w.random.IntN(2) == 0 {
			set[p.fault] = w.fault(p)
		}
	}
	return set
}

// change asks for a set of faults. It wants it to be made, unless the disk is in the
// way and the change needs it: then nothing may change.
func (w *walk) change(next faultSet, send func(ctx context.Context) error) {
	w.t.Helper()
	next = next.from(time.Now())
	needsDisk := w.faults.needsDisk(next)
	w.said += fmt.Sprint(next.names())
	err := send(context.Background())
	var refusal *client.Error
	switch {
	case err == nil && needsDisk && w.disk == readOnly && !w.stepped:
		w.t.Fatalf("%s: made though the state can't be stored", w.said)
	case err == nil:
		w.faults, w.meddled = next, false
	case w.disk != works && (needsDisk || w.stepped) && errors.As(err, &refusal) && refusal.Status == http.StatusInternalServerError:
		w.said += " refused"
	default:
		w.t.Fatalf("%s: %v", w.said, err)
	}
}

func (w *walk) setAll() {
	next := w.some(isNobodys)
	w.change(next, func(ctx context.Context) error {
		_, err := w.a.client().ReplaceFaults(ctx, next.requests())
		return err
	})
}

func (w *walk) setOne() {
	f := w.fault(w.place(isNobodys))
	w.change(w.faults.with(faultSet{f.Name: f}), func(ctx context.Context) error {
		_, err := w.a.client().SetFault(ctx, f.request())
		return err
	})
}

// setLatency sets or clears it by the route that needs no body.
func (w *walk) setLatency() {
	if w.random.IntN(3) == 0 {
		w.change(w.faults.without(latency), func(ctx context.Context) error {
			_, err := w.a.client().ClearLatency(ctx)
			return err
		})
		return
	}
	f := wanted{Fault: api.Fault{Name: latency, Direction: "egress", Delay: fmt.Sprintf("%dms", 1+w.random.IntN(30))}, lasts: w.life()}
	w.change(w.faults.with(faultSet{latency: f}), func(ctx context.Context) error {
		_, err := w.a.client().SetLatency(ctx, client.Delay{Delay: f.Delay, Duration: f.request().Duration})
		return err
	})
}

func (w *walk) endOne() {
	names := w.faults.names()
	name := names[w.random.IntN(len(names))]
	w.change(w.faults.without(name), func(ctx context.Context) error {
		_, err := w.a.client().DeleteFault(ctx, name)
		var refusal *client.Error
		if errors.As(err, &refusal) && refusal.Status == http.StatusNotFound && w.faults[name].mayBeOver(time.Now()) {
			return nil
		}
		return err
	})
}

func (w *walk) endAll() {
	w.change(faultSet{}, func(ctx context.Context) error {
		_, err := w.a.client().DeleteFaults(ctx)
		return err
	})
}

// setOwned replaces what an owner has and leaves all else.
func (w *walk) setOwned() { w.replaceOwned(w.some(isOwned)) }

// renew is setOwned with the same faults.
func (w *walk) renew() {
	same := w.faults.ownedBy(owned)
	for name, f := range same {
		f.lasts, f.life = w.life(), life{}
		same[name] = f
	}
	w.replaceOwned(same)
}

func (w *walk) replaceOwned(next faultSet) {
	rest := w.faults.without(w.faults.ownedBy(owned).names()...)
	w.change(rest.with(next), func(ctx context.Context) error {
		_, err := w.a.client().ReplaceOwned(ctx, owned, next.requests())
		return err
	})
}

// verify sets the same faults again, and has the agent measure that nothing has
// changed by it.
func (w *walk) verify() {
	p := w.place(func(p place) bool { return p.device == "" || w.net1 == up })
	peer := w.lab.bystander.IP
	if len(p.peers) > 0 {
		peer = p.peers[0]
	}
	next := w.faults.with(nil)
	for name, f := range next {
		f.life = life{}
		next[name] = f
	}
	netlab.Retry(w.t, "verify", func() error {
		verdict := "nothing was made"
		_, cut := w.pingTo(p)
		w.change(next, func(ctx context.Context) error {
			got, err := w.a.client().ReplaceFaults(ctx, next.requests(), client.Verify(peer))
			if err == nil && got.Body.Verified != nil {
				verdict = got.Body.Verified.Verdict
			}
			return err
		})
		if !cut && w.disk == works && !strings.Contains(verdict, "agrees with") {
			return errors.New(verdict)
		}
		return nil
	})
}

// waitForEnd waits until the next fault ends by itself.
func (w *walk) waitForEnd() {
	w.said, w.await = w.faults.nextEnd(), patience
	<-time.After(time.Until(w.faults[w.said].end()))
}

// kill ends the agent, does something or nothing while none runs, and starts it
// again.
func (w *walk) kill() {
	signal := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM}[w.random.IntN(2)]
	w.a.stop(signal)
	w.said = signal.String()
	for range w.random.IntN(3) {
		o := w.choose(events())
		w.said += ", " + o.name
		o.do(w)
	}
	w.start()
}

func (w *walk) start() {
	w.a.start()
	w.restart()
	w.await = patience
}

// killWhileItChanges kills the agent somewhere in a change. The next one has the
// old set or the new one.
func (w *walk) killWhileItChanges() {
	next := w.some(isNobodys).from(time.Now())
	w.said = fmt.Sprint(next.names())
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		_, _ = w.a.ask(http.MethodPut, api.PathFaults, encode(w.t, next.requests()...)) // it may be killed before it answers
	}()
	<-time.After(rand.N(30 * time.Millisecond)) // as it happens: no seed repeats it
	w.a.stop(syscall.SIGKILL)
	<-asked
	w.start()
	if next.is(w.a.faults()) {
		w.faults, w.stored = next, next.with(nil)
		w.said += " made"
	}
}

func (w *walk) plug() {
	plugNet1(w.t, w.lab)
	w.net1, w.await = up, patience
}

func (w *walk) unplug() {
	unplugNet1(w.t, w.lab)
	w.net1, w.await = absent, patience
}

func (w *walk) setLink(state linkState) {
	w.lab.pod.Exec(w.t, fmt.Sprintf("ip link set net1 %s", state))
	w.net1, w.await = state, patience
}

// setAllWhileItFlaps asks for a set while net1 goes and comes.
func (w *walk) setAllWhileItFlaps() {
	next := w.some(isNobodys)
	w.change(next, func(ctx context.Context) error {
		answer := make(chan error, 1)
		go func() {
			_, err := w.a.client().ReplaceFaults(ctx, next.requests())
			answer <- err
		}()
		for range 5 {
			unplugNet1(w.t, w.lab)
			plugNet1(w.t, w.lab)
		}
		return <-answer
	})
	w.await = patience
}

// flapETH0 switches the pod's own interface off and on, which takes its default
// route.
func (w *walk) flapETH0() {
	w.lab.pod.Shell(w.t, "echo 1 >/proc/sys/net/ipv6/conf/eth0/keep_addr_on_down; ip link set eth0 down; ip link set eth0 up; ip route replace default via "+w.lab.node.IP)
	w.await = patience
}

func (w *walk) setDisk(state diskState) {
	switch {
	case state == full:
		fillDisk(w.t, w.dir)
	case state == readOnly:
		remount(unix.MS_RDONLY)(w.t, w.dir)
	case w.disk == full:
		emptyDisk(w.t, w.dir)
	case w.disk == readOnly:
		remount(0)(w.t, w.dir)
	}
	w.disk, w.await = state, patience
}

// stepClock moves the time of day.
func (w *walk) stepClock(by time.Duration) {
	if by == 0 {
		return
	}
	step(w.t, by)
	w.clock += by
	w.moveClock(by)
	w.await = patience
}

// meddle deletes what is ours on eth0, as somebody else may.
func (w *walk) meddle() {
	script := "tc qdisc del dev eth0 root || true"
	if engineName == "nfqueue" {
		script = "nft delete table ip tidelay || true"
	}
	w.lab.pod.Shell(w.t, script)
	w.meddled = true
}
