//go:build kernel

package kernel

import (
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
)

// What the kernel counts is what was sent, for each fault its own.
func TestCountersCount(t *testing.T) {
	a := startAgent(t)
	l := a.lab
	f := udp(l.pod, l.bystander, 1000)
	lossy, plain := only(f, api.Fault{Loss: lossOf(20)}), api.Fault{Name: "plain", Delay: "1ms", Peers: []string{l.bystander.More[0]}, Protocol: "udp"}
	a.apply(lossy, plain)
	got := f.Run(t)
	beside := udp(l.pod, l.bystander, 500)
	beside.Target = l.bystander.More[0]
	beside.Run(t)
	lost := uint64(len(got.Lost()))
	if c := a.fault("measured").Counters; c.Dropped != lost || c.Packets != 1000-lost && c.Packets != 1000 || c.Bytes < (1000-lost)*(64+28) || c.Backlog != 0 {
		t.Errorf("of 1000 datagrams %d were lost: counters %+v", lost, c)
	}
	if c := a.fault("plain").Counters; c.Packets != 500 || c.Dropped != 0 || c.Bytes < 500*(64+28) {
		t.Errorf("500 datagrams: counters %+v", c)
	}
	_, metrics, err := a.request(api.PathMetrics)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		fmt.Sprintf(`tidelay_fault_dropped_packets_total{device="eth0",direction="egress",fault="measured"} %d`, lost),
		`tidelay_fault_packets_total{device="eth0",direction="egress",fault="plain"} 500`,
		`tidelay_fault_held{fault="plain"} 1`,
		`tidelay_agent_kernel_readable 1`,
	} {
		if !strings.Contains(string(metrics), line) {
			t.Errorf("metrics lack %s:\n%s", line, metrics)
		}
	}
	if warnings := a.status().Warnings; len(warnings) > 0 {
		t.Errorf("warnings %q", warnings)
	}
}

// Another delay starts no counter anew.
func TestCountersGoOn(t *testing.T) {
	a := startAgent(t)
	l := a.lab
	const count, each = 5, 4
	for i := range each {
		a.apply(only(udp(l.pod, l.bystander, count), api.Fault{Delay: fmt.Sprintf("%dms", 1+i)}))
		if lost := udp(l.pod, l.bystander, count).Run(t).Lost(); len(lost) > 0 {
			t.Errorf("lost %v", lost)
		}
		if c := a.fault("measured").Counters; c.Packets != uint64(count*(i+1)) {
			t.Errorf("after %d changes and %d datagrams: counters %+v", i, count*(i+1), c)
		}
	}
}

// The agent's own measurement agrees with ping's and TCP's from outside.
func TestMeasure(t *testing.T) {
	netlab.EngineIndependent(t)
	a := startAgent(t)
	l := a.lab
	l.bystander.Listen(t, ":4000", netlab.Discard)
	closed := net.JoinHostPort(l.bystander.IP, "4999")
	ask := api.Measure{Targets: []string{l.bystander.IP, l.bystander.IP6, net.JoinHostPort(l.bystander.IP6, "4000"), closed, "10.99.0.99"}, Count: 9, Interval: "20ms", Timeout: "300ms"}
	body, err := json.Marshal(ask)
	if err != nil {
		t.Fatal(err)
	}
	netlab.Retry(t, "POST /v1/measure under 20ms", func() error {
		var before, answer api.Measurements
		a.clear()
		a.send(http.MethodPost, api.PathMeasure, string(body), http.StatusOK, &before)
		a.set("20ms")
		a.send(http.MethodPost, api.PathMeasure, string(body), http.StatusOK, &answer)
		if len(answer.Results) != len(ask.Targets) {
			t.Fatalf("%d results for %d targets", len(answer.Results), len(ask.Targets))
		}
		for i, m := range answer.Results[:3] {
			if m.Target != ask.Targets[i] || m.Sent != 9 || m.Received != 9 || len(m.Samples) != 9 || m.Min == nil || m.Median == nil || m.P99 == nil || before.Results[i].Median == nil {
				return fmt.Errorf("%+v", m)
			}
			if *m.Min < 20 || typical(m) > *before.Results[i].Median+25 || *m.Median < *m.Min || *m.P99 < *m.Median {
				return fmt.Errorf("%s: min %.3f, median %.3f, p99 %.3f ms, want 20", m.Target, *m.Min, *m.Median, *m.P99)
			}
		}
		if nobody := answer.Results[4]; nobody.Received != 0 || nobody.Median != nil || nobody.Error == "" {
			return fmt.Errorf("nobody is there: %+v", nobody)
		}
		return nil
	})
	var problem api.Problem
	a.send(http.MethodPost, api.PathMeasure, `{"targets":["tikv-1"]}`, http.StatusBadRequest, &problem)
	a.send(http.MethodPost, api.PathMeasure, `{"targets":[]}`, http.StatusBadRequest, &problem)
}

// typical is the typical sample of a measurement, in milliseconds.
func typical(m api.Measurement) float64 {
	var times []time.Duration
	for _, sample := range m.Samples {
		times = append(times, time.Duration(sample*float64(time.Millisecond)))
	}
	return milliseconds(machine.Typical(times))
}

// verify=true says what a set did to the RTT of a peer.
func TestVerify(t *testing.T) {
	a := startAgent(t)
	l := a.lab
	l.bystander.Listen(t, ":4000", netlab.Discard)
	short, long := machine.Jitter, machine.Jitter*5/2
	netlab.Retry(t, "verify", func() error {
		defer a.apply()
		for _, c := range []struct {
			path  string
			asked time.Duration
		}{
			{fmt.Sprintf("/%s?verify=true&peer=%s", short, l.bystander.IP), short},
			{fmt.Sprintf("/%s?direction=both&verify=true&peer=%s", long, net.JoinHostPort(l.bystander.IP, "4000")), 2*long - short},
			{"/0?verify=true&peer=" + l.bystander.IP, -2 * long},
		} {
			if err := checkVerified(a.latency(api.PathLatency+c.path).Verified, c.asked); err != nil {
				return fmt.Errorf("%s: %w", c.path, err)
			}
		}
		var changes api.Changes
		set := encode(t, api.Fault{Name: "else", Delay: "50ms", Peers: []string{"192.0.2.1"}})
		a.send(http.MethodPut, api.PathFaults+"?verify=true&peer="+l.bystander.IP, set, http.StatusOK, &changes)
		if err := checkVerified(changes.Verified, 0); err != nil {
			return fmt.Errorf("a fault for another peer: %w", err)
		}
		return nil
	})
	start := time.Now()
	a.wantStatus("verify without a peer", http.MethodGet, api.PathLatency+"/1ms?verify=true", "", http.StatusBadRequest)
	a.wantStatus("verify what takes too long", http.MethodGet, api.PathLatency+"/60s?verify=true&peer="+l.bystander.IP, "", http.StatusBadRequest)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the refusals took %s", took)
	}
}

// checkVerified wants the samples to show what was asked for, and the verdict to
// fit the medians. Where the machine itself is late, these may be too, and the
// verdict must say so.
func checkVerified(v *api.Verified, asked time.Duration) error {
	if v == nil || v.MeasuredRTT == nil {
		return fmt.Errorf("verified %+v", v)
	}
	change := typical(v.After) - typical(v.Before)
	if v.AskedRTT != milliseconds(asked) || math.Abs(change-v.AskedRTT) > 5+milliseconds(machine.Lag) {
		return fmt.Errorf("asked %.3f, want %s; the typical RTT changed by %.3f: %s", v.AskedRTT, asked, change, v.Verdict)
	}
	within := math.Abs(*v.MeasuredRTT-v.AskedRTT) <= max(2, math.Abs(v.AskedRTT)/20)
	if strings.Contains(v.Verdict, "agrees with") != within || !within && machine.Lag == 0 {
		return fmt.Errorf("asked %.3f, measured %.3f: %s", v.AskedRTT, *v.MeasuredRTT, v.Verdict)
	}
	return nil
}
