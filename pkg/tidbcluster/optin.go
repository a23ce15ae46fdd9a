package tidbcluster

import (
	"fmt"
	"slices"
	"strings"
)

// Annotations of a TidbCluster.
const (
	// InjectAnnotation opts a TidbCluster in when it is exactly "true". On a
	// pod it opts the pod out when it is anything else.
	InjectAnnotation = annotationPrefix + "inject"
	// ComponentsAnnotation narrows the opt-in to a comma-separated list of
	// components.
	ComponentsAnnotation = annotationPrefix + "components"

	annotationPrefix = "tidelay.io/"
)

// OptIn is what the annotations of a TidbCluster ask for.
type OptIn struct {
	// Inject is whether the TidbCluster opts in at all.
	Inject bool
	// Problems are sentences about annotations that make no sense. None of them
	// widens the selection.
	Problems []string

	narrowed   bool
	components []Component
}

// ParseOptIn reads the annotations of a TidbCluster.
func ParseOptIn(annotations map[string]string) OptIn {
	var o OptIn
	switch value, ok := annotations[InjectAnnotation]; {
	case value == "true":
		o.Inject = true
	case ok && value != "false":
		o.problemf(`annotation %s is %.64q, which does not opt in; accepted: "true", "false"`, InjectAnnotation, value)
	}
	list, ok := annotations[ComponentsAnnotation]
	if !ok {
		return o
	}
	o.narrowed = true
	for name := range strings.SplitSeq(list, ",") {
		component, err := ParseComponent(strings.TrimSpace(name))
		if err != nil {
			o.problemf("annotation %s: %w", ComponentsAnnotation, err)
			continue
		}
		o.components = append(o.components, component)
	}
	return o
}

// Covers reports whether pods of component c are asked for.
func (o OptIn) Covers(c Component) bool {
	return o.Inject && (!o.narrowed || slices.Contains(o.components, c))
}

func (o *OptIn) problemf(format string, args ...any) {
	o.Problems = append(o.Problems, fmt.Errorf(format, args...).Error())
}
