package webhook

import (
	"encoding/json"
	"slices"
	"strings"

	"gomodules.xyz/jsonpatch/v2"
	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// patch returns the JSON patch (RFC 6902) that adds the agent to pod. It only
// adds, at the end of the lists, and repeats nothing of what is there: fields
// that our Pod type does not know stay as they are.
func (c Config) patch(pod *corev1.Pod, member tidbcluster.Membership) []jsonpatch.Operation {
	// It cannot fail: there are only strings in it.
	status, _ := json.Marshal(Status{
		Version:    c.Version,
		Container:  ContainerName,
		Image:      c.Image,
		Cluster:    member.Cluster.Name,
		ClusterUID: string(member.UID),
		Component:  string(member.Component),
	})
	annotations := [][2]string{{StatusAnnotation, string(status)}}
	if _, ok := pod.Annotations[DefaultContainerAnnotation]; !ok {
		annotations = append(annotations, [2]string{DefaultContainerAnnotation, mainContainer(pod, member.Component)})
	}

	var ops []jsonpatch.Operation
	add := func(path string, value any) { ops = append(ops, jsonpatch.NewOperation("add", path, value)) }
	if pod.Annotations == nil {
		add("/metadata/annotations", map[string]string{})
	}
	for _, a := range annotations {
		add("/metadata/annotations/"+escape(a[0]), a[1])
	}
	if pod.Spec.Volumes == nil {
		add("/spec/volumes", []corev1.Volume{})
	}
	for _, v := range volumes() {
		add("/spec/volumes/-", v)
	}
	add("/spec/containers/-", c.container(pod))
	return ops
}

// mainContainer is the container named after the component, which TiDB Operator
// does not always put first, or else the first.
func mainContainer(pod *corev1.Pod, component tidbcluster.Component) string {
	named := slices.ContainsFunc(pod.Spec.Containers, func(c corev1.Container) bool { return c.Name == string(component) })
	if named || len(pod.Spec.Containers) == 0 {
		return string(component)
	}
	return pod.Spec.Containers[0].Name
}

// escape makes a key a JSON pointer's reference token (RFC 6901, section 3).
func escape(key string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}
