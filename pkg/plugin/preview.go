package plugin

import (
	"cmp"
	"context"
	"fmt"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/injection/configfile"
	"github.com/tidelay/tidelay/pkg/plugin/look"
	"github.com/tidelay/tidelay/pkg/plugin/render"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// previewFlags are the flags of preview.
type previewFlags struct {
	file, config, image string
	cluster, component  string
}

// newPreview returns the verb preview.
func (a *app) newPreview() *cobra.Command {
	f := &previewFlags{}
	cmd := verb("preview -f FILE [flags]", "Print pods and workloads as the injector would make them, without a cluster",
		`FILE has a Pod, StatefulSet, Deployment, ReplicaSet, DaemonSet, Job or CronJob, or several of
them and other objects, in YAML or JSON; - is for standard input. All of it is printed, with the
agent where the injector would add it. Standard error says what became of each, and what is
assumed because no cluster is asked. A TidbCluster or Namespace in the file counts.

What a fault would do is not seen here but with --dry-run: kubectl tidelay set --help.

The injector also writes the UID of the admission into the annotation tidelay.io/admission.

  kubectl tidelay preview -f tikv.yaml
  kubectl get statefulset basic-tikv -o yaml | kubectl tidelay preview -f - 2>/dev/null | less
  kubectl tidelay preview -f pod.yaml --cluster basic --component tikv`, exactly(0, "none"))
	cmd.Flags().StringVarP(&f.file, "filename", "f", "", "file with pods and workloads; - for standard input")
	cmd.Flags().StringVar(&f.config, "config", "", "file with the injector's settings, or with its ConfigMap (default the injector's own defaults)")
	cmd.Flags().StringVar(&f.image, "image", "", "image of the agent (default tidelay/agent of this version)")
	cmd.Flags().StringVar(&f.component, "component", "", "component of all pods (default by their names and labels)")
	// It takes the place of kubectl's own --cluster, of the kubeconfig, since no cluster is asked.
	cmd.Flags().StringVar(&f.cluster, "cluster", "", "TidbCluster of all pods (default by their names and labels)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return a.render(cmd.Context(), f) }
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	for _, flag := range []string{"filename", "config"} {
		register(cmd, flag, cobra.FixedCompletions([]string{"yaml", "yml", "json"}, cobra.ShellCompDirectiveFilterFileExt))
	}
	register(cmd, "component", cobra.FixedCompletions(components(), noFiles))
	return cmd
}

// components are the names of all components.
func components() []string {
	var names []string
	for _, c := range tidbcluster.Components() {
		names = append(names, string(c))
	}
	return names
}

// render prints what the injector would make of a file.
func (a *app) render(ctx context.Context, f *previewFlags) error {
	o := render.Options{Cluster: f.cluster, Namespace: a.namespaceIfKnown()}
	var err error
	if f.file == "" {
		return usage("-f is missing: want a file with pods and workloads, or - for standard input")
	}
	if f.component != "" {
		if o.Component, err = tidbcluster.ParseComponent(f.component); err != nil {
			return usage("--component %q%s", f.component, accepted(f.component, components()))
		}
	}
	if f.image != "" && !injection.IsImage(f.image) {
		return usage("--image %q: want an image, such as tidelay/agent:v1", f.image)
	}
	if o.Config, err = a.settings(ctx, f); err != nil {
		return err
	}
	content, err := a.readFile(ctx, f.file)
	if err != nil {
		return err
	}
	result, err := render.Render(content, o)
	if err != nil {
		return fmt.Errorf("%s: %w", f.file, err)
	}
	if _, err := a.Out.Write(result.YAML); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	a.tell(result)
	return nil
}

// namespaceIfKnown returns the namespace that is meant; "" if only a kubeconfig that can't be
// loaded would say so: no cluster is asked.
func (a *app) namespaceIfKnown() string {
	if *a.config.Namespace != "" {
		return *a.config.Namespace
	}
	namespace, err := a.namespace()
	if err != nil {
		return ""
	}
	return namespace
}

// settings returns the injector's settings.
func (a *app) settings(ctx context.Context, f *previewFlags) (injection.Config, error) {
	config := look.DefaultConfig(a.Version)
	config.Image = cmp.Or(f.image, "tidelay/agent:"+a.Version)
	if f.config == "" {
		return config, nil
	}
	content, err := a.readFile(ctx, f.config)
	if err != nil {
		return config, err
	}
	var holder corev1.ConfigMap
	if err := yaml.Unmarshal(content, &holder); err == nil && holder.Kind == "ConfigMap" {
		content = []byte(holder.Data[look.ConfigKey])
	}
	if config, err = configfile.Parse(content, config); err != nil {
		return config, fmt.Errorf("--config %s: %w", f.config, err)
	}
	return config, nil
}

// tell says on standard error what became of each object, and what is assumed.
func (a *app) tell(r *render.Result) {
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(a.ErrOut, format+"\n", args...) }
	for _, o := range r.Outcomes {
		switch o.Reason {
		case injection.Injected:
			line("%s: the agent is added, %s", o.Object, o.Detail)
		case "":
			line("%s: as it is, %s", o.Object, o.Detail)
		default:
			line("%s: no agent is added: %s (%s): %s", o.Object, o.Reason.Because(), o.Reason, o.Detail)
		}
	}
	for _, text := range r.Problems {
		line("problem: %s", text)
	}
	for _, text := range r.Assumed {
		line("assumed: %s", text)
	}
}
