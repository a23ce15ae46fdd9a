package injection

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// windowsNode says why pod can only run on a Windows node. It returns "" if pod may run
// on another one. The agent needs Linux, and the API server refuses NET_ADMIN in a pod
// whose spec.os is windows.
func windowsNode(pod *corev1.Pod) string {
	if pod.Spec.OS != nil && pod.Spec.OS.Name == corev1.Windows {
		return "spec.os.name is windows"
	}
	for _, label := range osLabels() {
		if pod.Spec.NodeSelector[label] == string(corev1.Windows) {
			return "spec.nodeSelector wants nodes with " + label + "=windows"
		}
	}
	if _, ok := pod.Spec.NodeSelector[corev1.LabelWindowsBuild]; ok {
		return "spec.nodeSelector wants nodes with " + corev1.LabelWindowsBuild
	}
	affinity := pod.Spec.Affinity
	if affinity == nil || affinity.NodeAffinity == nil || affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return ""
	}
	// A node has to match one of the terms, and all expressions of that term.
	terms := affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
	other := func(term corev1.NodeSelectorTerm) bool {
		return !slices.ContainsFunc(term.MatchExpressions, wantsWindows)
	}
	if len(terms) == 0 || slices.ContainsFunc(terms, other) {
		return ""
	}
	return "spec.affinity.nodeAffinity wants Windows nodes"
}

// osLabels are the labels by which kubelet says what OS a node has.
func osLabels() []string {
	return []string{corev1.LabelOSStable, "beta.kubernetes.io/os"}
}

// wantsWindows reports whether only Windows nodes match e. Every node is a Linux or a
// Windows node, and only the latter have a Windows build.
func wantsWindows(e corev1.NodeSelectorRequirement) bool {
	switch {
	case e.Key == corev1.LabelWindowsBuild:
		return e.Operator != corev1.NodeSelectorOpNotIn && e.Operator != corev1.NodeSelectorOpDoesNotExist
	case !slices.Contains(osLabels(), e.Key):
		return false
	case e.Operator == corev1.NodeSelectorOpIn:
		other := func(value string) bool { return value != string(corev1.Windows) }
		return len(e.Values) > 0 && !slices.ContainsFunc(e.Values, other)
	default:
		return e.Operator == corev1.NodeSelectorOpNotIn && slices.Contains(e.Values, string(corev1.Linux))
	}
}
