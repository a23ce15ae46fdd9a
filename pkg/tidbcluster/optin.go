package tidbcluster

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// OptIn is what the annotations of a TidbCluster ask for.
type OptIn struct {
	// Inject is whether the TidbCluster opts in at all.
	Inject bool
	// MaxDuration is the longest life of a fault, from api.MinDuration to
	// api.MaxDuration. It is 0 if no annotation sets it.
	MaxDuration time.Duration
	// Native is whether the agent is to be a native sidecar.
	Native bool
	// Problems has a sentence for each annotation that is not valid. An invalid
	// annotation never widens the selection.
	Problems []string

	// narrowed is whether an annotation lists the components; then components
	// are the valid ones among them.
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
	if value, ok := annotations[MaxDurationAnnotation]; ok {
		d, err := time.ParseDuration(value)
		if err != nil || d < api.MinDuration || d > api.MaxDuration {
			o.problemf(`annotation %s is %.64q; accepted: a time with its unit from %s to %s, such as "1h"`, MaxDurationAnnotation, value, api.MinDuration, api.MaxDuration)
		} else {
			o.MaxDuration = d
		}
	}
	switch value, ok := annotations[SidecarAnnotation]; {
	case value == "native":
		o.Native = true
	case ok && value != "container":
		o.problemf(`annotation %s is %.64q, taken as "container"; accepted: "container", "native"`, SidecarAnnotation, value)
	}
	if list, ok := annotations[ComponentsAnnotation]; ok {
		o.narrow(list)
	}
	return o
}

// narrow limits the selection to a comma-separated list of components.
func (o *OptIn) narrow(list string) {
	o.narrowed = true
	for name := range strings.SplitSeq(list, ",") {
		component, err := ParseComponent(strings.TrimSpace(name))
		if err != nil {
			o.problemf("annotation %s: %w", ComponentsAnnotation, err)
			continue
		}
		o.components = append(o.components, component)
	}
}

// Covers reports whether the TidbCluster asks for agents in pods of component c.
func (o OptIn) Covers(c Component) bool {
	return o.Inject && (!o.narrowed || slices.Contains(o.components, c))
}

// IsProtected reports whether the annotations of a TidbCluster refuse every fault.
func IsProtected(annotations map[string]string) bool {
	value, ok := annotations[ProtectAnnotation]
	return ok && value != "false"
}

func (o *OptIn) problemf(format string, args ...any) {
	o.Problems = append(o.Problems, fmt.Errorf(format, args...).Error())
}
