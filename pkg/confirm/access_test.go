package confirm

import (
	"context"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// A right to read that is taken away is told at the second look, and no longer once it
// is back. What is only unreachable is not told at all.
func TestAccess(t *testing.T) {
	kind := func(name string) Kind {
		object := &metav1.PartialObjectMetadata{}
		object.SetGroupVersionKind(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: name})
		return Kind{Object: object}
	}
	forbidden := apierrors.NewForbidden(schema.GroupResource{Group: "apps", Resource: "statefulsets"}, "", nil)
	l := &lists{errs: map[string]error{}}
	a := &Access{Live: l, Kinds: []Kind{kind("Deployment"), kind("StatefulSet")}}
	for i, step := range []struct {
		deployments, statefulSets error
		allowed                   bool
	}{
		{nil, nil, true},
		{nil, forbidden, true},
		{nil, nil, true},
		{nil, forbidden, true},
		{nil, forbidden, false},
		{errDown, errDown, false},
		{errDown, forbidden, false},
		{nil, nil, true},
		{errDown, errDown, true},
		{errDown, errDown, true},
		{nil, apierrors.NewUnauthorized("expired"), true},
		{nil, apierrors.NewUnauthorized("expired"), false},
		{nil, nil, true},
	} {
		l.errs["DeploymentList"], l.errs["StatefulSetList"] = step.deployments, step.statefulSets
		a.look(t.Context())
		err := a.Allowed()
		if (err == nil) != step.allowed || err != nil && !strings.Contains(err.Error(), "list StatefulSet.apps") {
			t.Errorf("look %d: %v, allowed should be %t", i, err, step.allowed)
		}
	}
	ended, end := context.WithCancel(t.Context())
	end()
	l.errs["StatefulSetList"] = forbidden
	a.look(ended)
	a.look(ended)
	if err := a.Allowed(); err != nil {
		t.Errorf("at the end: %v", err)
	}
}
