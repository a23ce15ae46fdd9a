package render

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// Options are what the documents do not say.
type Options struct {
	Config injection.Config
	// Namespace is that of documents that name none; "default" is assumed if it is empty.
	Namespace string
	// Cluster and Component are what all pods are taken for. What is empty is taken from the
	// pods' names and labels.
	Cluster   string
	Component tidbcluster.Component
}

// Result is what becomes of some documents.
type Result struct {
	// YAML has them all. Those that do not change are as they were, byte for byte.
	YAML     []byte
	Outcomes []Outcome
	// Problems has a sentence for each annotation that is not valid.
	Problems []string
	// Assumed has a sentence for what only a cluster knows.
	Assumed []string
}

// Outcome is what becomes of one object.
type Outcome struct {
	// Object is its kind and name.
	Object string
	// Reason is that of the injector's decision; "" for an object that makes no pods.
	Reason injection.Reason
	// Detail says in a sentence what led to it.
	Detail string
}

// Render adds agents to the pods and workloads in some YAML, documents or Lists. The error
// names the document that can't be read, from 1.
func Render(content []byte, o Options) (*Result, error) {
	documents, err := parse(content)
	if err != nil {
		return nil, err
	}
	r := &renderer{Options: o, isAssumed: o.Namespace == ""}
	r.Namespace = cmp.Or(o.Namespace, metav1.NamespaceDefault)
	if err := r.learn(documents); err != nil {
		return nil, err
	}
	var out [][]byte
	for _, d := range documents {
		changed, err := r.visit(d.object)
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", d.number, err)
		}
		if changed {
			if d.raw, err = encode(d.object); err != nil {
				return nil, fmt.Errorf("document %d: %w", d.number, err)
			}
		}
		out = append(out, append(bytes.TrimSpace(d.raw), '\n'))
	}
	if len(r.result.Outcomes) == 0 {
		return nil, errors.New("there is no object in it: want a pod or a workload in YAML or JSON")
	}
	r.result.YAML = bytes.Join(out, []byte("---\n"))
	return &r.result, nil
}

// object is an object as JSON has it, with numbers as they were written.
type object = map[string]any

// visit changes an object, or the items of a List, and reports whether that changed anything.
func (r *renderer) visit(o object) (changed bool, err error) {
	for _, item := range items(o) {
		one, err := r.visit(item)
		if err != nil {
			return false, err
		}
		changed = changed || one
	}
	if o == nil || isList(o) {
		return changed, nil
	}
	return r.inject(o)
}

// inject changes an object that is a pod, or makes some.
func (r *renderer) inject(o object) (changed bool, err error) {
	of, err := headOf(o)
	if err != nil {
		return false, err
	}
	out := Outcome{Object: of.String()}
	defer func() { r.result.Outcomes = append(r.result.Outcomes, out) }()
	holder, key, known := template(o, of)
	if !known {
		out.Detail = "no pod, and no workload that is known"
		return false, nil
	}
	raw, ok := holder[key].(object)
	if !ok {
		return false, fmt.Errorf("%s has no template of pods", of)
	}
	content, pod, err := decode(raw)
	if err != nil {
		return false, fmt.Errorf("%s: %w", of, err)
	}
	of.adopt(pod, r.Namespace)
	if r.isAssumed && of.Namespace == "" {
		r.assume("%s: in namespace %s, since nothing names another one", of, r.Namespace)
	}
	decision := r.decide(of, pod)
	out.Reason, out.Detail = decision.Reason, decision.Detail
	for _, problem := range decision.Problems {
		note(&r.result.Problems, problem)
	}
	if len(decision.Patch) == 0 {
		return false, nil
	}
	if content, err = Apply(content, decision.Patch); err != nil {
		return false, fmt.Errorf("%s: %w", of, err)
	}
	patched, err := unmarshal(content)
	if err != nil {
		return false, fmt.Errorf("%s: %w", of, err)
	}
	if of.Kind == "Pod" {
		clear(o)
		maps.Copy(o, patched)
		return true, nil
	}
	holder[key] = patched
	return true, nil
}

// encode writes an object as YAML.
func encode(o object) ([]byte, error) {
	content, err := json.Marshal(o)
	if err == nil {
		content, err = yaml.JSONToYAML(content)
	}
	if err != nil {
		return nil, fmt.Errorf("encode as YAML: %w", err)
	}
	return content, nil
}
