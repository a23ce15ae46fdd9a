//go:build apiserver

package apiserver

import (
	"slices"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// The shipped roles for people.
const (
	viewerRole   = "tidelay-viewer"
	operatorRole = "tidelay-operator"
)

// give binds a shipped role to a user of the same name in the namespace.
func (n namespace) give(role string) {
	n.t.Helper()
	n.make(&rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: n.name, Name: role},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: role}},
	})
}

// A viewer looks, an operator makes faults and topologies too. Neither gets past the controller: not
// to the agents by the API server's proxy, nor to what the controller writes.
func TestRolesOfPeople(t *testing.T) {
	n := newNamespace(t)
	verbs := []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"}
	for role, mayDo := range map[string][]string{viewerRole: verbs[:3], operatorRole: verbs} {
		n.give(role)
		check := func(want bool, a access) {
			t.Helper()
			if err := wantUserAllowed(t.Context(), role, []string{"system:authenticated"}, want, a); err != nil {
				t.Error(err)
			}
		}
		for _, verb := range verbs {
			for _, resource := range []string{faultResource, topologyResource} {
				objects := access{Verb: verb, Group: faultGroup, Resource: resource, Namespace: n.name, Name: "any"}
				check(slices.Contains(mayDo, verb), objects)
				elsewhere := objects
				elsewhere.Namespace = systemNamespace
				check(false, elsewhere)

				status := objects
				status.Subresource = "status"
				check(role == operatorRole && verb == "get", status)
			}
			for _, subresource := range []string{"", "proxy", "exec", "ephemeralcontainers"} {
				check(false, access{Verb: verb, Resource: "pods", Subresource: subresource, Namespace: n.name, Name: "any"})
			}
			check(false, access{Verb: verb, Group: "pingcap.com", Resource: "tidbclusters", Namespace: n.name, Name: "any"})
		}
	}
}

// By Kubernetes' own roles everybody gets the one that fits.
func TestRolesAggregate(t *testing.T) {
	for role, want := range map[string][]string{viewerRole: {"view"}, operatorRole: {"admin", "edit"}} {
		shipped := &rbacv1.ClusterRole{}
		must(t, world.client.Get(t.Context(), client.ObjectKey{Name: role}, shipped))
		var got []string
		for _, to := range []string{"admin", "edit", "view"} {
			if shipped.Labels["rbac.authorization.k8s.io/aggregate-to-"+to] == "true" {
				got = append(got, to)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s aggregates to %q, want %q", role, got, want)
		}
	}
}

// The same by requests: what each may do works, what it may not is forbidden.
func TestFaultsByTheirUsers(t *testing.T) {
	n := newNamespace(t)
	n.give(viewerRole)
	n.give(operatorRole)
	viewer, operator := clientAs(t, viewerRole), clientAs(t, operatorRole)
	controller := clientAs(t, userPrefix+controllerName)
	newFault := func() *v1alpha1.NetworkFault {
		return &v1alpha1.NetworkFault{
			ObjectMeta: metav1.ObjectMeta{Namespace: n.name, Name: "one"},
			Spec:       v1alpha1.NetworkFaultSpec{Cluster: "basic", From: []v1alpha1.Selector{"tikv"}, RTT: "50ms", Duration: "10m"},
		}
	}
	forbidden := func(who string, err error) {
		t.Helper()
		if !apierrors.IsForbidden(err) {
			t.Errorf("%s: %v, want it forbidden", who, err)
		}
	}
	forbidden("the viewer creates", viewer.Create(t.Context(), newFault()))
	forbidden("the controller creates", controller.Create(t.Context(), newFault()))
	fault := newFault()
	must(t, operator.Create(t.Context(), fault))

	key := client.ObjectKeyFromObject(fault)
	for name, c := range map[string]client.Client{"viewer": viewer, "operator": operator, "controller": controller} {
		if err := c.Get(t.Context(), key, fault); err != nil || fault.Spec.RTT != "50ms" {
			t.Errorf("the %s reads rtt %q, %v", name, fault.Spec.RTT, err)
		}
	}
	fault.Status.Phase = v1alpha1.Running
	forbidden("the viewer writes the status", viewer.Status().Update(t.Context(), fault.DeepCopy()))
	forbidden("the operator writes the status", operator.Status().Update(t.Context(), fault.DeepCopy()))
	must(t, controller.Status().Update(t.Context(), fault))
	before := fault.DeepCopy()
	fault.Status.Message = "in force"
	forbidden("the controller patches the status", controller.Status().Patch(t.Context(), fault.DeepCopy(), client.MergeFrom(before)))
	fault.Status.Message = ""

	before = fault.DeepCopy()
	fault.Spec.RTT = "80ms"
	forbidden("the viewer changes", viewer.Patch(t.Context(), fault.DeepCopy(), client.MergeFrom(before)))
	forbidden("the controller changes", controller.Patch(t.Context(), fault.DeepCopy(), client.MergeFrom(before)))
	must(t, operator.Patch(t.Context(), fault, client.MergeFrom(before)))

	forbidden("the viewer deletes", viewer.DeleteAllOf(t.Context(), newFault(), client.InNamespace(n.name)))
	forbidden("the controller deletes", controller.Delete(t.Context(), fault.DeepCopy()))
	must(t, operator.DeleteAllOf(t.Context(), newFault(), client.InNamespace(n.name)))
	if err := operator.Get(t.Context(), key, fault); !apierrors.IsNotFound(err) {
		t.Errorf("a deleted fault is read: %v; want it gone at once", err)
	}
}
