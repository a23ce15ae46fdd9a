package injection

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"gomodules.xyz/jsonpatch/v2"
	corev1 "k8s.io/api/core/v1"

	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// patch returns the JSON patch (RFC 6902) that adds the agent to pod, as a native
// sidecar if native is true. Lists get longer at their ends, and nothing of the pod is
// repeated or removed but our own annotations. So fields that our Pod type does not
// know stay as they are.
func (c Config) patch(pod *corev1.Pod, member tidbcluster.Membership, native bool) []jsonpatch.Operation {
	// Marshal can't fail: a Status has only strings.
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
	if _, copied := pod.Annotations[NotInjectedAnnotation]; copied {
		ops = append(ops, jsonpatch.NewOperation("remove", annotationPath(NotInjectedAnnotation), nil))
	}
	for _, a := range annotations {
		add(annotationPath(a[0]), a[1])
	}
	if pod.Spec.Volumes == nil {
		add("/spec/volumes", []corev1.Volume{})
	}
	for _, v := range c.volumes() {
		add("/spec/volumes/-", v)
	}
	if pod.Spec.ImagePullSecrets == nil && len(c.PullSecrets) > 0 {
		add("/spec/imagePullSecrets", []corev1.LocalObjectReference{})
	}
	for _, name := range c.PullSecrets {
		if secret := (corev1.LocalObjectReference{Name: name}); !slices.Contains(pod.Spec.ImagePullSecrets, secret) {
			add("/spec/imagePullSecrets/-", secret)
		}
	}
	agent := c.container(pod, cmp.Or(member.OptIn.MaxDuration, c.MaxDuration))
	if !native {
		add("/spec/containers/-", agent)
		return ops
	}
	if pod.Spec.InitContainers == nil {
		add("/spec/initContainers", []corev1.Container{})
	}
	agent.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
	add("/spec/initContainers/-", agent)
	return ops
}

// Removal returns the JSON patch that takes from pod what patch has added, but for the
// pull secrets and the name of the default container, which don't say whose they are. It
// is empty for a pod without an agent.
func Removal(pod *corev1.Pod) []jsonpatch.Operation {
	var ops []jsonpatch.Operation
	remove := func(path string) { ops = append(ops, jsonpatch.NewOperation("remove", path, nil)) }
	// From the end, since each removal moves what comes after it.
	for i, c := range slices.Backward(pod.Spec.Containers) {
		if isAgent(c) {
			remove(fmt.Sprintf("/spec/containers/%d", i))
		}
	}
	for i, c := range slices.Backward(pod.Spec.InitContainers) {
		if isAgent(c) {
			remove(fmt.Sprintf("/spec/initContainers/%d", i))
		}
	}
	for i, v := range slices.Backward(pod.Spec.Volumes) {
		if isOurVolume(v) {
			remove(fmt.Sprintf("/spec/volumes/%d", i))
		}
	}
	for _, annotation := range []string{StatusAnnotation, AdmissionAnnotation} {
		if _, ok := pod.Annotations[annotation]; ok {
			remove(annotationPath(annotation))
		}
	}
	return ops
}

// mainContainer returns the name of the container that is named after the
// component, which TiDB Operator does not always put first. If there is none, it
// returns the name of the first container.
func mainContainer(pod *corev1.Pod, component tidbcluster.Component) string {
	named := slices.ContainsFunc(pod.Spec.Containers, func(c corev1.Container) bool { return c.Name == string(component) })
	if named || len(pod.Spec.Containers) == 0 {
		return string(component)
	}
	return pod.Spec.Containers[0].Name
}

// annotationPath returns the JSON pointer (RFC 6901, section 3) of an annotation.
func annotationPath(key string) string {
	return "/metadata/annotations/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}
