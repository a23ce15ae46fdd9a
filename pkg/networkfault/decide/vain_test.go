package decide_test

import (
	"strings"
	"testing"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
)

// What no packet can meet is refused, and not said to be in force.
func TestAFaultInVain(t *testing.T) {
	for spec, words := range map[string]string{
		`{"from": ["tikv"], "rtt": "1ms", "ports": [2332], "duration": "1m"}`:                                      "spec.ports 2332: that is the agents' own TCP port",
		`{"from": ["tikv"], "rtt": "1ms", "ports": ["2332-2332"], "protocol": "tcp", "duration": "1m"}`:            "spec.ports 2332",
		`{"from": ["tikv"], "to": ["cidr/127.0.0.0/8"], "rtt": "1ms", "duration": "1m"}`:                           "spec.to: cidr/127.0.0.0/8 is loopback",
		`{"from": ["tikv"], "to": ["pd", "cidr/::1/128"], "rtt": "1ms", "duration": "1m"}`:                         "spec.to: cidr/::1/128 is loopback",
		`{"from": ["tikv"], "to": ["cidr/0.0.0.0/32"], "rtt": "1ms", "duration": "1m"}`:                            "spec.to: cidr/0.0.0.0/32 is a single address",
		`{"from": ["tikv"], "to": ["cidr/fd00::/8"], "rtt": "1ms", "duration": "1m"}`:                              "no pod of spec.from has an IPv6 address",
		`{"from": ["tidb"], "to": ["pd"], "rtt": "1ms", "duration": "1m", "allow": ["Partial", "UnhealthyStart"]}`: "no selected pod can have it: ",
	} {
		w := newWorld(t)
		f := w.fault("vain", spec)
		for i := range w.Pods {
			w.Pods[i].Agent = w.Pods[i].Component == "tikv"
		}
		if d := w.decide(); len(faulted(d)) > 0 || f.Status.Phase != v1alpha1.Refused || !strings.HasPrefix(f.Status.Message, words) || !strings.Contains(f.Status.Message, ". It is tried again") {
			t.Errorf("%s: %s, %q, faults at %v", spec, f.Status.Phase, f.Status.Message, faulted(d))
		}
	}
	for _, spec := range []string{
		`{"from": ["tikv"], "rtt": "1ms", "ports": [2332], "protocol": "udp", "duration": "1m", "allow": ["Partial"]}`,
		`{"from": ["tikv"], "rtt": "1ms", "ports": [2332, 2379], "duration": "1m", "allow": ["Partial"]}`,
		`{"from": ["tikv"], "to": ["cidr/fd00::/8", "cidr/192.0.2.0/24"], "rtt": "1ms", "duration": "1m"}`,
		`{"from": ["tikv"], "to": ["cidr/fd00::/8", "pd"], "rtt": "1ms", "duration": "1m"}`,
		`{"from": ["tidb"], "to": ["tikv"], "oneWay": true, "delay": "1ms", "duration": "1m", "allow": ["Partial"]}`,
		`{"from": ["tikv"], "to": ["cidr/126.0.0.0/7"], "rtt": "1ms", "duration": "1m"}`,
	} {
		w := newWorld(t)
		f := w.fault("some", spec)
		for i := range w.Pods {
			w.Pods[i].Agent = w.Pods[i].Component != "tidb"
		}
		if w.decide(); f.Status.Phase != v1alpha1.Running {
			t.Errorf("%s: %s, %q", spec, f.Status.Phase, f.Status.Message)
		}
	}
}

// A fault whose pods have no address yet may be in force at them later.
func TestPodsWithoutAddressAreNotInVain(t *testing.T) {
	for _, to := range []string{"cidr/fd00::/8", "pd"} {
		w := newWorld(t)
		for i := range w.Pods {
			w.Pods[i].Addrs = nil
		}
		f := w.fault("slow", `{"from": ["tikv"], "to": ["`+to+`"], "rtt": "1ms", "duration": "1m"}`)
		w.decide()
		w.want(f, v1alpha1.Running, decide.ReasonNotApplied, "has no address of its own yet")
	}
}
