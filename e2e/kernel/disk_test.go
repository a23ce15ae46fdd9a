//go:build kernel

package kernel

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
)

// With a disk that is full or read-only no fault is made, and every fault can be
// ended or ends by itself. The status and the metrics say so until the disk is
// back.
func TestEndingNeedsNoDisk(t *testing.T) {
	for name, c := range map[string]struct {
		breakIt, mend func(t *testing.T, dir string)
	}{
		"full":      {fillDisk, emptyDisk},
		"read-only": {remount(unix.MS_RDONLY), remount(0)},
	} {
		t.Run(name, func(t *testing.T) {
			dir := smallDisk(t)
			a := freshAgent(t, "--state-dir="+dir)
			l := a.lab
			before := kernelState(t, l.pod)
			cut := api.Fault{Name: "cut", Direction: "both", Peers: []string{l.bystander.IP, l.bystander.IP6}, Partition: true}
			short := api.Fault{Name: "short", Peers: []string{l.bystander.More[0]}, Delay: "1ms", Duration: "3s"}
			a.apply(cut, short)
			c.breakIt(t, dir)

			problem := a.refused(http.StatusInternalServerError, cut, short, api.Fault{Name: "new", Peers: manyPeers(largeState), Delay: "1ms"})
			if !strings.Contains(problem.Detail, "ending faults still works") {
				t.Errorf("the refusal is %q", problem.Detail)
			}
			netlab.Eventually(t, 15*time.Second, "the short one ends", func() error {
				if left := a.faults(); len(left) != 1 || left[0].Name != "cut" {
					return fmt.Errorf("%+v", left)
				}
				return nil
			})
			if p := l.pod.PingNobody(t, l.bystander.IP, 2, interval); p.Received > 0 {
				t.Errorf("the cut lets pings pass: %+v", p)
			}
			a.send(http.MethodDelete, api.PathFaults+"/cut", "", http.StatusOK, &api.Changes{})
			for _, ip := range []string{l.bystander.IP, l.bystander.IP6} {
				if p := l.pod.Ping(t, ip, 3, interval); p.Received != p.Sent {
					t.Errorf("after the end %s answers %d of %d", ip, p.Received, p.Sent)
				}
			}
			if after := kernelState(t, l.pod); after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
			if name == "read-only" { // a full disk has room for what is smaller than before
				if text := strings.Join(a.status().Warnings, "\n"); !strings.Contains(text, "state file") || !strings.Contains(text, "cut") {
					t.Errorf("warnings %q", text)
				}
				a.wantMetric("tidelay_agent_state_stored 0")
			}
			a.apply() // an empty set ends nothing, and needs no disk either
			c.mend(t, dir)
			netlab.Eventually(t, 15*time.Second, "the state is stored", func() error { return a.metric("tidelay_agent_state_stored 1") })
			a.stop(syscall.SIGKILL)
			a.start()
			if left := a.faults(); len(left) != 0 {
				t.Errorf("the next agent brings back %+v", left)
			}
		})
	}
}

// What has ended on a full disk does not come back with the next agent.
func TestWhatEndedOnAFullDiskStaysEnded(t *testing.T) {
	netlab.EngineIndependent(t)
	dir := smallDisk(t)
	a := freshAgent(t, "--state-dir="+dir)
	stays := api.Fault{Name: "stays", Peers: []string{a.lab.bystander.More[0]}, Delay: "1ms"}
	a.apply(stays, api.Fault{Name: "ends", Peers: []string{a.lab.bystander.More[1]}, Delay: "1ms"})
	fillDisk(t, dir)
	a.apply(stays)
	a.stop(syscall.SIGKILL)
	a.start()
	if left := a.faults(); len(left) != 1 || left[0].Name != "stays" {
		t.Errorf("the next agent has %+v", left)
	}
}

// A small set needs no room on the disk, as long as it takes the place of a small
// one.
func TestAFullDiskHasRoomForASmallSet(t *testing.T) {
	netlab.EngineIndependent(t)
	dir := smallDisk(t)
	a := freshAgent(t, "--state-dir="+dir)
	a.apply(api.Fault{Name: "first", Delay: "1ms"})
	fillDisk(t, dir)
	want := []api.Fault{{Name: "first", Delay: "1ms"}, {Name: "second", Peers: []string{a.lab.bystander.More[0]}, Delay: "2ms"}}
	a.apply(want...)
	a.refused(http.StatusInternalServerError, append(want, api.Fault{Name: "large", Peers: manyPeers(largeState), Delay: "1ms"})...)
	a.stop(syscall.SIGKILL)
	a.start()
	if got := a.faults(); len(got) != len(want) || got[0].Name != want[0].Name || got[1].Name != want[1].Name {
		t.Errorf("the next agent has %+v", got)
	}
}

// largeState is how many peers make the state of a fault larger than a page.
const largeState = 400

// smallSize is the size of a small disk, as tmpfs(5) takes it.
const smallSize = "size=64k"

// smallDisk mounts a disk that is soon full, until the test ends.
func smallDisk(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, smallSize); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

const filler = "filler"

func fillDisk(t *testing.T, dir string) {
	t.Helper()
	err := os.WriteFile(filepath.Join(dir, filler), make([]byte, 128<<10), 0o600)
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("fill the disk: %v", err)
	}
}

func emptyDisk(t *testing.T, dir string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, filler)); err != nil {
		t.Fatal(err)
	}
}

func remount(flags uintptr) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT|flags, smallSize); err != nil {
			t.Fatal(err)
		}
	}
}

// metric has an error unless the metrics have a line.
func (a *agent) metric(line string) error {
	status, body, err := a.request(api.PathMetrics)
	if err == nil && (status != http.StatusOK || !strings.Contains("\n"+string(body), "\n"+line+"\n")) {
		err = fmt.Errorf("status %d, no line %q", status, line)
	}
	return err
}

func (a *agent) wantMetric(line string) {
	a.t.Helper()
	if err := a.metric(line); err != nil {
		a.t.Error(err)
	}
}
