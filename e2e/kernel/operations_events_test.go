//go:build kernel

package kernel

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// What happens to the agent and its pod.

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
	if next.showsAs(w.a.faults(), time.Now()) {
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
