package plugin

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/plugin/explain"
	"github.com/tidelay/tidelay/pkg/plugin/look"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
	"github.com/tidelay/tidelay/pkg/tidbcluster/resolve"
)

// explainTime is how long an agent may take to say how it is.
const explainTime = 10 * time.Second

// newExplain returns the verb explain.
func (a *app) newExplain() *cobra.Command {
	var output, tidelay string
	cmd := verb("explain POD [flags]", "Show why a pod has the agent, or why it has none, and what that agent holds",
		`It decides as the injector would if the pod were created now, and shows the owners by which
the injector knows what the pod is part of. An agent is asked what it holds, and whether the
kernel has it. It changes nothing. What you may not read is said.`, exactly(1, "POD"))
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, yaml or json")
	cmd.Flags().StringVar(&tidelay, "tidelay-namespace", look.TidelayNamespace, "where the injector is, whose settings count")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkOutput(output, "table", "yaml", "json"); err != nil {
			return err
		}
		c, namespace, err := a.connect()
		if err != nil {
			return err
		}
		key := types.NamespacedName{Namespace: namespace, Name: strings.TrimPrefix(strings.TrimPrefix(args[0], "pods/"), "pod/")}
		pod, err := readPod(cmd.Context(), c, key)
		if err != nil {
			return err
		}
		e, err := explain.Explain(cmd.Context(), explain.Options{Reader: c, Agents: c.asker(explainTime), TidelayNamespace: tidelay, Version: a.Version}, pod)
		if err != nil {
			return fmt.Errorf("explain pod %s: %w", pod.Name, err)
		}
		if output == "table" {
			return e.Write(a.Out, a)
		}
		return a.encode(e, output)
	}
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, noFiles
		}
		return a.ask(cmd, memberPods)
	}
	register(cmd, "output", cobra.FixedCompletions([]string{"table", "yaml", "json"}, noFiles))
	register(cmd, "tidelay-namespace", a.completeNamespace)
	return cmd
}

// readPod reads a pod. The error of one that is not there names those that may be meant.
func readPod(ctx context.Context, c client.Client, key types.NamespacedName) (*corev1.Pod, error) {
	var pod corev1.Pod
	err := c.Get(ctx, key, &pod)
	switch {
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("there is no pod %s in namespace %s%s", key.Name, key.Namespace, otherPods(ctx, c, key))
	case err != nil:
		return nil, fmt.Errorf("read pod %s: %w", key.Name, err)
	}
	return &pod, nil
}

// otherPods ends a sentence about a pod that is not there with where such a pod is, or else
// with the TidbClusters' pods that have nearly its name; "" if they can't be listed.
func otherPods(ctx context.Context, c client.Client, key types.NamespacedName) string {
	var all corev1.PodList
	if err := c.List(ctx, &all, client.MatchingLabels(tidbcluster.OperatorLabels())); err != nil {
		if err := c.List(ctx, &all, client.InNamespace(key.Namespace), client.MatchingLabels(tidbcluster.OperatorLabels())); err != nil {
			return ""
		}
	}
	var elsewhere, here []string
	for _, pod := range all.Items {
		switch {
		case pod.Name == key.Name:
			elsewhere = append(elsewhere, pod.Namespace)
		case pod.Namespace == key.Namespace:
			here = append(here, pod.Name)
		}
	}
	if len(elsewhere) > 0 {
		slices.Sort(elsewhere)
		return "; there is one in namespace " + strings.Join(elsewhere, ", ")
	}
	if near := nearest(key.Name, here); len(near) > 0 {
		slices.Sort(near)
		return "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return ""
}

// memberPods are the names of the pods that can be of a TidbCluster, with what they are.
func memberPods(ctx context.Context, c client.Client, namespace string) []string {
	var all corev1.PodList
	if err := c.List(ctx, &all, client.InNamespace(namespace), client.MatchingLabels(tidbcluster.OperatorLabels())); err != nil {
		return nil
	}
	slices.SortFunc(all.Items, func(a, b corev1.Pod) int { return cmp.Compare(a.Name, b.Name) })
	var names []string
	for i := range all.Items {
		pod := &all.Items[i]
		if cluster := resolve.ClusterName(pod); cluster != "" {
			what := fmt.Sprintf("%s of TidbCluster %s", pod.Labels[tidbcluster.ComponentLabel], cluster)
			names = append(names, cobra.CompletionWithDesc(pod.Name, what))
		}
	}
	return names
}
