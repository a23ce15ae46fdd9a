//go:build apiserver

package apiserver

import (
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// newController starts a replica of the controller that checks every second, with flags
// that the test adds. It ends with the test.
func newController(t *testing.T, flags ...string) *process {
	t.Helper()
	p, err := world.startProcess(t.Context(), controllerName, append([]string{"--missed-check=1s"}, flags...)...)
	must(t, err)
	t.Cleanup(p.kill)
	return p
}

// newLeader is newController where no other replica is to lead.
func newLeader(t *testing.T, flags ...string) *process {
	t.Helper()
	// A replica that was killed keeps the lead for a while.
	lease := &coordinationv1.Lease{}
	lease.Namespace, lease.Name = systemNamespace, controllerName
	must(t, client.IgnoreNotFound(world.client.Delete(t.Context(), lease)))
	return newController(t, flags...)
}

// leads returns the value of the manager's own metric for the lead.
func (p *process) leads(t *testing.T) bool {
	t.Helper()
	for _, metric := range p.scrape(t, "leader_election_master_status") {
		if label := metric.GetLabel(); len(label) == 1 && label[0].GetValue() == controllerName {
			return metric.GetGauge().GetValue() == 1
		}
	}
	return false
}
