//go:build apiserver

package apiserver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// userPrefix begins the user name of each of Tidelay's ServiceAccounts, which ends
// with the account's name.
const userPrefix = "system:serviceaccount:" + systemNamespace + ":"

type access = authorizationv1.ResourceAttributes

func readStatefulSets() access {
	return access{Verb: "get", Group: "apps", Resource: "statefulsets", Namespace: "any", Name: "any"}
}

// wantAllowed asks the API server whether a program may do it.
func wantAllowed(ctx context.Context, program string, want bool, a access) error {
	return wantUserAllowed(ctx, userPrefix+program, []string{"system:serviceaccounts", "system:serviceaccounts:" + systemNamespace, "system:authenticated"}, want, a)
}

// wantUserAllowed asks the API server whether a user may do it.
func wantUserAllowed(ctx context.Context, user string, groups []string, want bool, a access) error {
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user, Groups: groups, ResourceAttributes: &a,
	}}
	if err := world.client.Create(ctx, review); err != nil {
		return err
	}
	if review.Status.Allowed != want {
		return fmt.Errorf("%s: %s %s.%s/%s %s/%s is allowed: %t, want %t",
			user, a.Verb, a.Resource, a.Group, a.Subresource, a.Namespace, a.Name, review.Status.Allowed, want)
	}
	return nil
}

// What could be abused in programs that know every TiDB pod, neither may do.
func TestLeastPrivilege(t *testing.T) {
	const admission = "admissionregistration.k8s.io"
	for name, a := range map[string]access{
		"delete pods":                      {Verb: "delete", Resource: "pods", Namespace: "any", Name: "any"},
		"change pods":                      {Verb: "patch", Resource: "pods", Namespace: "any", Name: "any"},
		"create pods":                      {Verb: "create", Resource: "pods", Namespace: systemNamespace},
		"read other secrets":               {Verb: "get", Resource: "secrets", Namespace: systemNamespace, Name: "other"},
		"list secrets":                     {Verb: "list", Resource: "secrets", Namespace: systemNamespace},
		"read secrets elsewhere":           {Verb: "get", Resource: "secrets", Namespace: "default", Name: caSecretName},
		"replace TidbClusters":             {Verb: "update", Group: "pingcap.com", Resource: "tidbclusters", Namespace: "any", Name: "any"},
		"delete TidbClusters":              {Verb: "delete", Group: "pingcap.com", Resource: "tidbclusters", Namespace: "any", Name: "any"},
		"take other leases":                {Verb: "update", Group: "coordination.k8s.io", Resource: "leases", Namespace: systemNamespace, Name: "other"},
		"change StatefulSets":              {Verb: "update", Group: "apps", Resource: "statefulsets", Namespace: "any", Name: "any"},
		"change namespaces":                {Verb: "patch", Resource: "namespaces", Name: "any"},
		"change other webhooks":            {Verb: "patch", Group: admission, Resource: "mutatingwebhookconfigurations", Name: "other"},
		"delete its webhook":               {Verb: "delete", Group: admission, Resource: "mutatingwebhookconfigurations", Name: configurationName},
		"make webhooks":                    {Verb: "create", Group: admission, Resource: "mutatingwebhookconfigurations"},
		"grant roles":                      {Verb: "bind", Group: "rbac.authorization.k8s.io", Resource: "clusterroles", Name: injectorName},
		"take tokens of other accounts":    {Verb: "create", Resource: "serviceaccounts", Subresource: "token", Namespace: "default", Name: "default"},
		"impersonate users":                {Verb: "impersonate", Resource: "users", Name: "admin"},
		"exec into the pods it injects":    {Verb: "create", Resource: "pods", Subresource: "exec", Namespace: "any", Name: "any"},
		"evict pods":                       {Verb: "create", Resource: "pods", Subresource: "eviction", Namespace: "any", Name: "any"},
		"read ConfigMaps":                  {Verb: "list", Resource: "configmaps", Namespace: "any"},
		"change nodes":                     {Verb: "patch", Resource: "nodes", Name: "any"},
		"reach pods by the API server":     {Verb: "get", Resource: "pods", Subresource: "proxy", Namespace: "any", Name: "any"},
		"make faults":                      {Verb: "create", Group: faultGroup, Resource: faultResource, Namespace: "any"},
		"change what faults ask for":       {Verb: "patch", Group: faultGroup, Resource: faultResource, Namespace: "any", Name: "any"},
		"delete faults":                    {Verb: "delete", Group: faultGroup, Resource: faultResource, Namespace: "any", Name: "any"},
		"change the CRD of faults":         {Verb: "patch", Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions", Name: faultResource + "." + faultGroup},
		"make topologies":                  {Verb: "create", Group: faultGroup, Resource: topologyResource, Namespace: "any"},
		"change what topologies ask for":   {Verb: "patch", Group: faultGroup, Resource: topologyResource, Namespace: "any", Name: "any"},
		"delete topologies":                {Verb: "delete", Group: faultGroup, Resource: topologyResource, Namespace: "any", Name: "any"},
		"change the CRD of topologies":     {Verb: "patch", Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions", Name: topologyResource + "." + faultGroup},
		"delete its CA":                    {Verb: "delete", Resource: "secrets", Namespace: systemNamespace, Name: caSecretName},
		"change the CRDs of TiDB Operator": {Verb: "patch", Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions", Name: "tidbclusters.pingcap.com"},
	} {
		for program := range programs {
			t.Run(program+": "+name, func(t *testing.T) { must(t, wantAllowed(t.Context(), program, false, a)) })
		}
	}
}

// Each program may do what it needs, and not what only the other one needs.
func TestPrivilegesAreApart(t *testing.T) {
	const admission = "admissionregistration.k8s.io"
	for name, test := range map[string]struct {
		only   string
		access access
	}{
		"watch pods":                  {controllerName, access{Verb: "watch", Resource: "pods"}},
		"watch nodes":                 {controllerName, access{Verb: "watch", Resource: "nodes"}},
		"read a node":                 {controllerName, access{Verb: "get", Resource: "nodes", Name: "any"}},
		"watch faults":                {controllerName, access{Verb: "watch", Group: faultGroup, Resource: faultResource}},
		"read a fault":                {controllerName, access{Verb: "get", Group: faultGroup, Resource: faultResource, Namespace: "any", Name: "any"}},
		"say what came of a fault":    {controllerName, access{Verb: "update", Group: faultGroup, Resource: faultResource, Subresource: "status", Namespace: "any", Name: "any"}},
		"watch topologies":            {controllerName, access{Verb: "watch", Group: faultGroup, Resource: topologyResource}},
		"read a topology":             {controllerName, access{Verb: "get", Group: faultGroup, Resource: topologyResource, Namespace: "any", Name: "any"}},
		"say what came of a topology": {controllerName, access{Verb: "update", Group: faultGroup, Resource: topologyResource, Subresource: "status", Namespace: "any", Name: "any"}},
		"list Events":                 {controllerName, access{Verb: "list", Resource: "events", Namespace: "any"}},
		"patch TidbClusters":          {controllerName, access{Verb: "patch", Group: "pingcap.com", Resource: "tidbclusters", Namespace: "any", Name: "any"}},
		"create leases":               {controllerName, access{Verb: "create", Group: "coordination.k8s.io", Resource: "leases", Namespace: systemNamespace}},
		"take the lead":               {controllerName, access{Verb: "update", Group: "coordination.k8s.io", Resource: "leases", Namespace: systemNamespace, Name: controllerName}},
		"create Events of the core":   {controllerName, access{Verb: "create", Resource: "events", Namespace: systemNamespace}},
		"create secrets":              {injectorName, access{Verb: "create", Resource: "secrets", Namespace: systemNamespace}},
		"read the CA":                 {injectorName, access{Verb: "get", Resource: "secrets", Namespace: systemNamespace, Name: caSecretName}},
		"replace the CA":              {injectorName, access{Verb: "update", Resource: "secrets", Namespace: systemNamespace, Name: caSecretName}},
		"write the webhook's trust":   {injectorName, access{Verb: "patch", Group: admission, Resource: "mutatingwebhookconfigurations", Name: configurationName}},
		"watch webhook configuration": {injectorName, access{Verb: "watch", Group: admission, Resource: "mutatingwebhookconfigurations", Name: configurationName}},
	} {
		for program := range programs {
			t.Run(program+": "+name, func(t *testing.T) { must(t, wantAllowed(t.Context(), program, program == test.only, test.access)) })
		}
	}
	for program := range programs { // what both need
		must(t, wantAllowed(t.Context(), program, true, readStatefulSets()))
		must(t, wantAllowed(t.Context(), program, true, access{Verb: "list", Resource: "pods", Namespace: "any"}))
		must(t, wantAllowed(t.Context(), program, true, access{Verb: "get", Resource: "pods", Namespace: "any", Name: "any"}))
	}
}

// Neither program is ever refused anything while it starts, serves or leads, and
// reports: the shipped RBAC is enough.
func TestNothingIsForbidden(t *testing.T) {
	must(t, world.audit.read())
	asked, refused := maps.Clone(world.audit.asked), len(world.audit.refused)
	controller := newLeader(t)
	lend(t, newReplica(t))

	n := newNamespace(t)
	pod := n.tikv(optedIn())
	stored, _ := n.post(pod, wet)
	if agents(stored) != 1 {
		t.Error("the pod was not injected")
	}
	tc := n.cluster("other", nil)
	n.post(n.pod("other-tikv-0", "tikv", n.statefulSet("other-tikv", tc)), wet)
	n.annotate(tc, "true")
	t.Cleanup(func() { // even when the Event does not come
		must(t, world.audit.read())
		for program := range programs {
			if world.audit.asked[program] == asked[program] {
				t.Errorf("the audit log does not show what %s asks for, and the test proves nothing", program)
			}
		}
		for _, event := range world.audit.refused[refused:] {
			t.Errorf("%s: %s %s: %s", event.User.Username, event.Verb, event.RequestURI, event.ResponseStatus.Message)
		}
	})
	n.eventOn(pod.Name)
	n.hasCondition("basic", "True injected")
	n.hasCondition("other", "False missed")
	n.eventOn("other-tikv-0 (missed)")
	if !controller.leads(t) {
		t.Error("the controller does not lead")
	}
	// The manager writes an Event about the new leader when it has the lead.
	eventually(t, 10*time.Second, func() error {
		var events corev1.EventList
		if err := world.client.List(t.Context(), &events, client.InNamespace(systemNamespace)); err != nil {
			return err
		}
		for _, event := range events.Items {
			if event.InvolvedObject.Kind == "Lease" && event.InvolvedObject.Name == controllerName {
				return nil
			}
		}
		return errors.New("no Event tells who leads")
	})
}
