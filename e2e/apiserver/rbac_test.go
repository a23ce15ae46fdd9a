//go:build apiserver

package apiserver

import (
	"context"
	"fmt"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
)

const injectorUser = "system:serviceaccount:" + systemNamespace + ":" + injectorName

type access = authorizationv1.ResourceAttributes

func readStatefulSets() access {
	return access{Verb: "get", Group: "apps", Resource: "statefulsets", Namespace: "any", Name: "any"}
}

// wantAllowed asks the API server whether the injector may do it.
func wantAllowed(ctx context.Context, want bool, a access) error {
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User:               injectorUser,
		Groups:             []string{"system:serviceaccounts", "system:serviceaccounts:" + systemNamespace, "system:authenticated"},
		ResourceAttributes: &a,
	}}
	if err := world.client.Create(ctx, review); err != nil {
		return err
	}
	if review.Status.Allowed != want {
		return fmt.Errorf("%s %s.%s %s/%s is allowed: %t, want %t",
			a.Verb, a.Resource, a.Group, a.Namespace, a.Name, review.Status.Allowed, want)
	}
	return nil
}

// What a webhook on every TiDB pod could abuse, the injector may not do.
func TestLeastPrivilege(t *testing.T) {
	const admission = "admissionregistration.k8s.io"
	for name, a := range map[string]access{
		"watch pods":                       {Verb: "watch", Resource: "pods"},
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
		"read nodes":                       {Verb: "list", Resource: "nodes"},
		"delete its CA":                    {Verb: "delete", Resource: "secrets", Namespace: systemNamespace, Name: caSecretName},
		"change the CRDs of TiDB Operator": {Verb: "patch", Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions", Name: "tidbclusters.pingcap.com"},
	} {
		t.Run(name, func(t *testing.T) { must(t, wantAllowed(t.Context(), false, a)) })
	}
}

// A replica that starts, serves, tells an Event and looks for missed pods is
// never refused anything: the shipped RBAC is enough.
func TestNothingIsForbidden(t *testing.T) {
	must(t, world.audit.read())
	asked, refused := world.audit.asked, len(world.audit.refused)
	lend(t, newChecker(t))

	n := newNamespace(t)
	pod := n.tikv(optedIn())
	stored, _ := n.post(pod, wet)
	if agents(stored) != 1 {
		t.Error("the pod was not injected")
	}
	t.Cleanup(func() { // even when the Event does not come
		must(t, world.audit.read())
		if world.audit.asked == asked {
			t.Error("the audit log does not show what the injector asks for, and the test proves nothing")
		}
		for _, event := range world.audit.refused[refused:] {
			t.Errorf("%s %s: %s", event.Verb, event.RequestURI, event.ResponseStatus.Message)
		}
	})
	n.eventOn(pod.Name)
	n.hasCondition("basic", "True injected")
}
