//go:build kernel

package kernel

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/client"
)

// encode is a set as the body of PUT /v1/faults.
func encode(t testing.TB, faults ...api.Fault) string {
	t.Helper()
	if faults == nil {
		faults = []api.Fault{}
	}
	body, err := json.Marshal(api.FaultSet{Faults: faults})
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// apply replaces the whole set, and wants the kernel to hold all of it.
func (a *agent) apply(faults ...api.Fault) api.Changes {
	a.t.Helper()
	got, err := a.client().ReplaceFaults(context.Background(), faults)
	if err != nil {
		a.t.Fatalf("apply %d faults: %v", len(faults), err)
	}
	answer := got.Body
	if !answer.Applied || answer.Engine != engineName || len(answer.Faults) != len(faults) {
		a.t.Fatalf("apply %d faults: answer %+v", len(faults), answer)
	}
	a.wantHeld(len(faults))
	return answer
}

// putOne adds or replaces one fault.
func (a *agent) putOne(f api.Fault) {
	a.t.Helper()
	if _, err := a.client().SetFault(context.Background(), f); err != nil {
		a.t.Fatalf("set one fault: %v", err)
	}
}

// remove ends one fault.
func (a *agent) remove(name string) {
	a.t.Helper()
	if _, err := a.client().DeleteFault(context.Background(), name); err != nil {
		a.t.Fatalf("remove a fault: %v", err)
	}
}

// refused wants a set to be refused, and nothing to change by it.
func (a *agent) refused(want int, faults ...api.Fault) api.Problem {
	a.t.Helper()
	before, held := kernelState(a.t, a.lab.pod), encode(a.t, a.faults()...)
	var refusal *client.Error
	if _, err := a.client().ReplaceFaults(context.Background(), faults); !errors.As(err, &refusal) || refusal.Status != want {
		a.t.Fatalf("set %d faults: %v, want status %d", len(faults), err, want)
	}
	if after := kernelState(a.t, a.lab.pod); after != before {
		a.t.Errorf("a refused set changed the kernel, before:\n%s\nafter:\n%s", before, after)
	}
	if after := encode(a.t, a.faults()...); after != held {
		a.t.Errorf("a refused set changed the faults, before: %s, after: %s", held, after)
	}
	return refusal.Problem
}

// faults is the desired set.
func (a *agent) faults() []api.Fault {
	a.t.Helper()
	set, err := a.client().Faults(context.Background())
	if err != nil {
		a.t.Fatalf("read the faults: %v", err)
	}
	return set.Body.Faults
}

// status is what the kernel holds.
func (a *agent) status() api.Status {
	a.t.Helper()
	status, err := a.client().Status(context.Background())
	if err != nil {
		a.t.Fatalf("read the status: %v", err)
	}
	return status
}

// fault is the status of one fault.
func (a *agent) fault(name string) api.FaultStatus {
	a.t.Helper()
	for _, f := range a.status().Faults {
		if f.Name == name {
			return f
		}
	}
	a.t.Fatalf("status has no fault %q", name)
	return api.FaultStatus{}
}

// wantHeld wants so many faults, all of them in the kernel.
func (a *agent) wantHeld(count int) {
	a.t.Helper()
	status := a.status()
	if len(status.Faults) != count {
		a.t.Errorf("%d faults, want %d: %+v", len(status.Faults), count, status.Faults)
	}
	for _, f := range status.Faults {
		if !f.Held {
			a.t.Errorf("the kernel does not hold %q; warnings: %q", f.Name, status.Warnings)
		}
	}
}

// lacks says why this engine can't do something here, "" when it can.
func (a *agent) lacks(feature string) string {
	a.t.Helper()
	return a.status().Capabilities[engineName].Lacks[feature]
}

// clearAll ends every fault, at the end of a test whatever it did to the agent.
func (a *agent) clearAll() {
	a.t.Helper()
	if a.cmd == nil {
		a.start()
	}
	err := netlab.Poll(5*time.Second, func() error {
		_, err := a.client().ReplaceFaults(context.Background(), nil)
		var refusal *client.Error
		if errors.As(err, &refusal) && (refusal.Status == http.StatusNotImplemented || refusal.Status == http.StatusForbidden) {
			return nil // it had no engine, or no right, to set anything; the kernel will tell
		}
		return err
	})
	if err != nil {
		a.t.Errorf("clear all faults: %v", err)
	}
}
