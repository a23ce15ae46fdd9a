package object

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/selector"
	"github.com/tidelay/tidelay/pkg/plugin/shape"
)

// maxSide is how many selectors one side of a NetworkFault has at most.
const maxSide = 16

// Shaped returns the NetworkFaults that have the pods of one side cut off from one another in a
// shape. like has all else that they are to say, and its seed decides what random picks. They
// name the pods as they are picked now. But where one pod is to be isolated from its component,
// that one is as it was written: a role means the pod that has it when the fault starts.
//
// The error wraps selector.ErrUnknownRole or selector.ErrNobody, or says how many pods the
// shape needs.
func Shaped(like v1alpha1.NetworkFaultSpec, s shape.Shape, of []selector.Selector, cluster selector.Cluster) ([]v1alpha1.NetworkFaultSpec, error) {
	picked, err := cluster.Select(of, like.Seed, selector.Selection{})
	if err != nil {
		return nil, err
	}
	if s == shape.Isolate && len(picked.Pods) == 1 {
		return isolated(like, picked.Pods[0], cluster)
	}
	cuts, err := s.Cuts(podNames(picked))
	if err != nil {
		return nil, err
	}
	var all []v1alpha1.NetworkFaultSpec
	for _, cut := range cuts {
		one := *like.DeepCopy()
		one.Seed = 0 // nothing is picked any more
		if one.From, err = pods(cut.From); err != nil {
			return nil, err
		}
		if one.To, err = pods(cut.To); err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

// isolated cuts one pod off from the others of its component.
func isolated(like v1alpha1.NetworkFaultSpec, one selector.Picked, cluster selector.Cluster) ([]v1alpha1.NetworkFaultSpec, error) {
	component := selector.Selector{Component: one.Pod.Component}
	all, err := cluster.Select([]selector.Selector{component}, like.Seed, selector.Selection{})
	if err != nil {
		return nil, err
	}
	if _, err := shape.Isolate.Cuts(podNames(all)); err != nil {
		return nil, fmt.Errorf("%w of %s", err, component)
	}
	from := one.Selector
	if from.Pick.How == "" { // more pods than this one may come that it means
		from = selector.Selector{Pod: one.Pod.Name}
	}
	like.From, like.To = []v1alpha1.Selector{v1alpha1.Selector(from.String())}, []v1alpha1.Selector{v1alpha1.Selector(component.String())}
	return []v1alpha1.NetworkFaultSpec{like}, nil
}

func podNames(s selector.Selection) []string {
	var all []string
	for _, p := range s.Pods {
		all = append(all, p.Pod.Name)
	}
	return all
}

// pods returns selectors that name pods: one for each, or for several if there are too many.
func pods(names []string) ([]v1alpha1.Selector, error) {
	var all []v1alpha1.Selector
	for some := range slices.Chunk(names, (len(names)+maxSide-1)/maxSide) {
		var texts []string
		for _, name := range some {
			texts = append(texts, selector.Selector{Pod: name}.String())
		}
		text := strings.Join(texts, ",")
		if _, err := selector.Parse(text); err != nil {
			return nil, fmt.Errorf("%d pods are too many for one side: %w", len(names), err)
		}
		all = append(all, v1alpha1.Selector(text))
	}
	return all, nil
}

// The labels of NetworkFaults that are one shape together: the shape's name, and how many they
// are.
const (
	shapeLabel = "tidelay.io/shape"
	sizeLabel  = "tidelay.io/shape-size"
)

// ShapeOf returns the name of the shape that an object is a part of; "" for an object that is
// not one of several.
func ShapeOf(o client.Object) string { return o.GetLabels()[shapeLabel] }

// Incomplete is a shape of which not all NetworkFaults are left.
type Incomplete struct {
	Name       string
	Left, Size int
}

// IncompleteShapes returns the shapes that lack a NetworkFault, in order of their names: it was
// deleted by itself, it has ended before the others, or who wrote them was killed before all were
// written.
func IncompleteShapes(there []*v1alpha1.NetworkFault) []Incomplete {
	shapes := map[string]Incomplete{}
	for _, f := range there {
		name := ShapeOf(f)
		if name == "" || f.Status.Phase == v1alpha1.Ended {
			continue
		}
		one := shapes[name]
		one.Name, one.Left = name, one.Left+1
		if size, err := strconv.Atoi(f.Labels[sizeLabel]); err == nil {
			one.Size = size
		}
		shapes[name] = one
	}
	maps.DeleteFunc(shapes, func(_ string, s Incomplete) bool { return s.Left >= s.Size })
	return slices.SortedFunc(maps.Values(shapes), func(a, b Incomplete) int { return strings.Compare(a.Name, b.Name) })
}

// ShapeName returns the name that is made for a shape: a DNS label.
func ShapeName(cluster string, s shape.Shape, of []selector.Selector) string {
	var side []v1alpha1.Selector
	for _, one := range of {
		side = append(side, v1alpha1.Selector(one.String()))
	}
	return Label(fmt.Sprintf("%s-%s-%s", cluster, words(side), s))
}

// AskShape asks for a shape of a name. One NetworkFault has that name. Of several, NAME-1 and so
// on, each has a label with it. The error says which one is there that is something else.
func AskShape(there []*v1alpha1.NetworkFault, namespace, name string, specs []v1alpha1.NetworkFaultSpec) ([]Asked, error) {
	if len(specs) == 1 {
		one, err := AskFault(there, namespace, name, specs[0])
		return []Asked{one}, err
	}
	if len(validation.IsDNS1123Label(name)) > 0 {
		return nil, fmt.Errorf("name %q: want lower case letters, digits and '-', at most %d, the first and the last no '-'", name, validation.DNS1123LabelMaxLength)
	}
	var all []Asked
	for i, spec := range specs {
		part, err := AskFault(there, namespace, fmt.Sprintf("%s-%d", name, i+1), spec)
		if err != nil {
			return nil, err
		}
		part.Wanted.GetLabels()[shapeLabel] = name
		part.Wanted.GetLabels()[sizeLabel] = strconv.Itoa(len(specs))
		all = append(all, part)
	}
	for _, f := range there {
		isPart := slices.ContainsFunc(all, func(part Asked) bool { return part.Before == client.Object(f) })
		if isPart != (ShapeOf(f) == name) {
			return nil, taken(f)
		}
	}
	return all, nil
}
