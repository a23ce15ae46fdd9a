//go:build e2e

package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// runPinger runs the pinger in one of its pods and decodes what it prints.
func (w *world) runPinger(ctx context.Context, from string, into any, args ...string) error {
	var stdout, stderr bytes.Buffer
	command := append([]string{"/pinger"}, args...)
	if err := w.ExecInPod(ctx, w.namespace, from, pinger, command, &stdout, &stderr); err != nil {
		return fmt.Errorf("%s: %v: %w\n%s", from, command, err, stderr.String())
	}
	if err := json.Unmarshal(stdout.Bytes(), into); err != nil {
		return fmt.Errorf("%s: %v: %w in %q", from, command, err, stdout.String())
	}
	return nil
}

// measured is what the pinger measured to a target.
type measured struct {
	Sent int             `json:"sent"`
	RTTs []time.Duration `json:"rtts"` // in the order of the answers
}

// measure measures from a pinger's pod to some targets at once, by ping to an address and
// by TCP to an address with a port. An answer that is later than wait is lost.
func (w *world) measure(ctx context.Context, from string, wait time.Duration, count int, targets ...string) (map[string]measured, error) {
	return w.measureEvery(ctx, 50*time.Millisecond, from, wait, count, targets...)
}

// measureEvery is measure with another time between two measurements of a target.
func (w *world) measureEvery(ctx context.Context, interval time.Duration, from string, wait time.Duration, count int, targets ...string) (map[string]measured, error) {
	results := map[string]measured{}
	if err := w.runPinger(ctx, from, &results, append([]string{"rtt", wait.String(), interval.String(), strconv.Itoa(count)}, targets...)...); err != nil {
		return nil, err
	}
	for _, target := range targets {
		if got := results[target]; got.Sent != count {
			return nil, fmt.Errorf("measure from %s to %s: %d sent, want %d", from, target, got.Sent, count)
		}
	}
	return results, nil
}

// rtt is the median of some pings, none of which may be lost.
func (w *world) rtt(ctx context.Context, t *testing.T, from string, to corev1.Pod) time.Duration {
	t.Helper()
	rtts := w.ping(ctx, t, from, to)
	if len(rtts) != pings {
		t.Fatalf("ping from %s to %s: %d answered, want %d", from, to.Name, len(rtts), pings)
	}
	return rtts[pings/2]
}

// pings are as many as ping sends.
const pings = 15

// ping returns the times of those that were answered, sorted.
func (w *world) ping(ctx context.Context, t *testing.T, from string, to corev1.Pod) []time.Duration {
	t.Helper()
	results, err := w.measure(ctx, from, 10*time.Second, pings, to.Status.PodIP)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(slices.Values(results[to.Status.PodIP].RTTs))
}

// tolerance is for two virtual hops on a machine that runs a whole cluster.
const tolerance = 4 * time.Millisecond

// wantRTT measures until the median is what it should be: a busy machine can
// make one series late, or several, but not all of half a minute.
func (w *world) wantRTT(ctx context.Context, t *testing.T, what, from string, to corev1.Pod, want time.Duration) {
	t.Helper()
	for start := time.Now(); ; {
		began := time.Now()
		got := w.rtt(ctx, t, from, to)
		t.Logf("%s: ping from %s to %s: median %s, want %s", what, from, to.Name, got, want)
		if (got - want).Abs() <= tolerance {
			return
		}
		if began.Sub(start) > settles {
			t.Errorf("%s: ping from %s to %s: median %s, want %s within %s", what, from, to.Name, got, want, tolerance)
			return
		}
	}
}
