package confirm

import (
	"context"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// lists answers each List with an error by the list's kind.
type lists struct {
	client.Reader
	errs  map[string]error
	asked []string
	limit int64
}

func (l *lists) List(_ context.Context, list client.ObjectList, options ...client.ListOption) error {
	var o client.ListOptions
	o.ApplyOptions(options)
	kind := list.GetObjectKind().GroupVersionKind().Kind
	l.asked, l.limit = append(l.asked, kind), o.Limit
	return l.errs[kind]
}

func TestReadable(t *testing.T) {
	kindOf := func(name string, optional bool) Kind {
		object := &metav1.PartialObjectMetadata{}
		object.SetGroupVersionKind(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: name})
		return Kind{Object: object, Optional: optional}
	}
	kinds := []Kind{kindOf("StatefulSet", false), kindOf("Deployment", false), kindOf("Other", true)}
	absent := &meta.NoKindMatchError{GroupKind: schema.GroupKind{Group: "apps", Kind: "Other"}}
	for name, test := range map[string]struct {
		errs map[string]error
		want []string
	}{
		"all":                        {},
		"all but an optional":        {errs: map[string]error{"OtherList": absent}},
		"not even an optional":       {errs: map[string]error{"OtherList": errDown}, want: []string{"list Other.apps: " + errDown.Error()}},
		"not one that must be there": {errs: map[string]error{"DeploymentList": absent}, want: []string{"list Deployment.apps: "}},
		"not two":                    {errs: map[string]error{"DeploymentList": errDown, "StatefulSetList": errDown}, want: []string{"list StatefulSet.apps", "list Deployment.apps"}},
	} {
		t.Run(name, func(t *testing.T) {
			l := &lists{errs: test.errs}
			err := Readable(t.Context(), l, kinds)
			if (err != nil) != (len(test.want) > 0) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			for _, want := range test.want {
				if err != nil && !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want %q", err, want)
				}
			}
			if len(l.asked) != len(kinds) || l.limit != 1 {
				t.Errorf("asked for %q, %d of each; want all and one of each", l.asked, l.limit)
			}
		})
	}
}
