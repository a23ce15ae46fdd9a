package object

import (
	"cmp"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/tidelay/tidelay/manifests/examples"
	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// Preset is an object that is ready to be used.
type Preset struct {
	// Name is how it is asked for.
	Name string
	// Comment says what it does, what to expect and where it comes from.
	Comment string
	object  client.Object
}

// Presets returns all presets, by name.
func Presets() ([]Preset, error) {
	files, err := fs.Glob(examples.Files, "*.yaml")
	if err != nil {
		return nil, fmt.Errorf("list presets: %w", err)
	}
	all := make([]Preset, 0, len(files))
	for _, file := range files {
		content, err := fs.ReadFile(examples.Files, file)
		if err != nil {
			return nil, fmt.Errorf("read preset: %w", err)
		}
		p, err := newPreset(strings.TrimSuffix(path.Base(file), ".yaml"), string(content))
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// newPreset reads a file: lines of comment, and one object.
func newPreset(name, content string) (Preset, error) {
	p := Preset{Name: name, object: &v1alpha1.NetworkFault{}}
	var comment []string
	for line := range strings.Lines(content) {
		text, is := strings.CutPrefix(line, "#")
		if !is {
			break
		}
		comment = append(comment, strings.TrimPrefix(strings.TrimRight(text, "\n"), " "))
	}
	p.Comment = strings.Join(comment, "\n")
	var kind struct{ Kind string }
	if err := yaml.Unmarshal([]byte(content), &kind); err != nil {
		return Preset{}, fmt.Errorf("parse preset %s: %w", name, err)
	}
	if kind.Kind == Topology {
		p.object = &v1alpha1.NetworkTopology{}
	}
	if err := yaml.UnmarshalStrict([]byte(content), p.object); err != nil {
		return Preset{}, fmt.Errorf("parse preset %s: %w", name, err)
	}
	return p, nil
}

// What says in one line what a preset does.
func (p Preset) What() string {
	paragraph, _, _ := strings.Cut(p.Comment, "\n\n")
	return strings.ReplaceAll(paragraph, "\n", " ")
}

// Lines are the lines of the comment, as YAML has them.
func (p Preset) Lines() []string {
	var all []string
	for line := range strings.SplitSeq(p.Comment, "\n") {
		all = append(all, strings.TrimRight("# "+line, " "))
	}
	return all
}

// For returns the object of a preset for a TidbCluster, with its name first in the object's. It
// says itself what the API server would fill in: so it is the same as one that is there.
func (p Preset) For(namespace, cluster string) client.Object {
	name := Label(cluster + "-" + p.Name)
	if t, is := p.object.(*v1alpha1.NetworkTopology); is {
		spec := *t.Spec.DeepCopy()
		spec.Cluster = cluster
		spec.StartAfter = cmp.Or(spec.StartAfter, v1alpha1.StartAfterReady)
		return NewTopology(namespace, name, spec)
	}
	spec := *p.object.(*v1alpha1.NetworkFault).Spec.DeepCopy()
	spec.Cluster = cluster
	if len(spec.To) == 0 {
		spec.To = []v1alpha1.Selector{"others"}
	}
	return NewFault(namespace, name, spec)
}
