//go:build kernel

package kernel

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/client"
)

// A renewal gives faults another life and does nothing else: the kernel tells
// its listeners of no change, the counters go on, no packet is lost, the ETag
// stays, and the log has no change.
func TestRenewalsTouchNothing(t *testing.T) {
	const owner, renewals = "shop.zones", 60
	a := startAgent(t)
	faults := []api.Fault{
		{Name: "far", Peers: []string{a.lab.node.IP, a.lab.node.IP6}, Protocol: "icmp", Delay: "3ms", Duration: "4s"},
		{Name: "cut", Direction: "both", Peers: []string{a.lab.bystander.IP}, Partition: true, Duration: "4s"},
	}
	renew := func() client.Answer[api.Changes] {
		t.Helper()
		got, err := a.client().ReplaceOwned(context.Background(), owner, faults)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	a.putOne(api.Fault{Name: "hand", Direction: "ingress", Protocol: "udp", Delay: "1ms"})
	etag := renew().ETag
	counted := a.status().Faults[1].Counters.Packets
	kernel := watchKernel(t, a.lab.pod)
	logged := a.log.length()
	pings := a.lab.pod.StartPing(a.lab.node.IP, 10*renewals, 10*time.Millisecond)
	pace := time.NewTicker(80 * time.Millisecond) // all of them take longer than one life
	defer pace.Stop()
	for range renewals {
		<-pace.C
		got := renew()
		if got.ETag != etag {
			t.Fatalf("ETag %s after %s", got.ETag, etag)
		}
		for _, change := range got.Body.Changes {
			if change.Action != api.ActionKeep {
				t.Fatalf("renewal: %s %s", change.Action, change.Name)
			}
		}
	}
	got, err := pings()
	if err != nil {
		t.Fatal(err)
	}
	if got.Received != got.Sent {
		t.Errorf("%d of %d pings are lost", got.Sent-got.Received, got.Sent)
	}
	if log := a.log.after(logged); strings.Contains(log, "fault changed") || strings.Contains(log, "fault ended") {
		t.Errorf("the log has a change:\n%s", log)
	}
	if text := kernel.changes(); text != "" {
		t.Errorf("the kernel was changed:\n%s", text)
	}
	a.wantHeld(3)
	if packets := a.status().Faults[1].Counters.Packets; packets < counted+10*renewals {
		t.Errorf("%d packets were counted, and %d before the pings", packets, counted)
	}
	netlab.Eventually(t, 10*time.Second, "what is not renewed ends", func() error {
		if left := a.status().Faults; len(left) != 1 || left[0].Name != "hand" {
			return fmt.Errorf("%d faults are left", len(left))
		}
		return nil
	})
}

// kernelWatch listens to what the kernel tells of changes in a pod: of qdiscs and
// filters, or of nftables.
type kernelWatch struct {
	t   *testing.T
	pod *netlab.Host
	log *logBuffer
}

// watchKernel starts to listen.
func watchKernel(t *testing.T, pod *netlab.Host) *kernelWatch {
	t.Helper()
	w := &kernelWatch{t: t, pod: pod, log: &logBuffer{}}
	cmd := exec.Command("tc", "monitor")
	if engineName == "nfqueue" {
		cmd = exec.Command("nft", "monitor")
	}
	cmd.Stdout, cmd.Stderr = w.log, w.log
	if err := pod.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	w.mark("7001")
	return w
}

// mark makes a change of its own and waits until it was heard. It returns all
// that was heard so far.
func (w *kernelWatch) mark(name string) string {
	w.t.Helper()
	var text string
	netlab.Eventually(w.t, 10*time.Second, "a change is heard", func() error {
		if engineName == "nfqueue" {
			w.pod.Shell(w.t, "nft add table ip mark"+name+"; nft delete table ip mark"+name)
		} else {
			w.pod.Shell(w.t, "tc qdisc add dev lo root handle "+name+": pfifo; tc qdisc del dev lo root")
		}
		if text = w.log.after(0); !strings.Contains(text, name) {
			return fmt.Errorf("heard %q", text)
		}
		return nil
	})
	return text
}

// changes returns what was heard since the start, less the marks.
func (w *kernelWatch) changes() string {
	w.t.Helper()
	var others []string
	for line := range strings.Lines(w.mark("7002")) {
		if !strings.Contains(line, "mark700") && !strings.Contains(line, "dev lo") && !strings.Contains(line, "(nft)") {
			others = append(others, line)
		}
	}
	return strings.Join(others, "")
}
