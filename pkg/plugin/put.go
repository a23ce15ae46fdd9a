package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
	"github.com/tidelay/tidelay/pkg/plugin/container"
	"github.com/tidelay/tidelay/pkg/plugin/look"
	"github.com/tidelay/tidelay/pkg/plugin/object"
	"github.com/tidelay/tidelay/pkg/plugin/preview"
	"github.com/tidelay/tidelay/pkg/plugin/report"
)

// wish makes the objects that are asked for together, by what is there.
type wish func(seen *look.Cluster) ([]object.Asked, error)

// put writes objects, or only says what that would do.
func (a *app) put(ctx context.Context, cluster string, make wish, w *writing) error {
	if err := w.check(); err != nil {
		return err
	}
	c, namespace, err := a.connect()
	if err != nil {
		return err
	}
	seen, err := a.look(ctx, c, types.NamespacedName{Namespace: namespace, Name: cluster})
	if err != nil {
		return err
	}
	asked, err := make(seen)
	if err != nil {
		return err
	}
	if err := known(seen, asked); err != nil {
		return err
	}
	var steps []object.Step
	for _, one := range asked {
		step, err := object.Plan(one, a.Now())
		if err != nil {
			return err
		}
		steps = append(steps, step)
	}
	words := a
	if w.output != "" {
		words = a.aside() // the objects alone are on the output
	}
	if err := words.preview(seen, steps, w); err != nil {
		return err
	}
	to := writer{Client: c, hidden: seen.Hidden}
	if w.dryRun {
		if err := words.try(ctx, to, steps); err != nil {
			return err
		}
		words.say("dry run: nothing was changed")
		return printObjects(a.Out, object.After(steps), w.output)
	}
	return words.carryOut(ctx, to, seen, steps, w, a.Out)
}

// known returns an error if the API server does not know a kind that is asked for.
func known(seen *look.Cluster, asked []object.Asked) error {
	for _, one := range asked {
		if slices.Contains(seen.Unknown, object.Plural(one.Wanted)) {
			return errors.New(strings.Join(report.Missing(seen.Unknown), "; "))
		}
	}
	return nil
}

// try has the API server judge steps, which changes nothing, and says what the person may not do.
func (a *app) try(ctx context.Context, c writer, steps []object.Step) error {
	for _, step := range steps {
		err := c.try(ctx, step)
		if verb := lacked(err); verb != "" {
			a.say("you may not %s %s in namespace %s: this takes somebody who may", verb, object.Plural(step.After), step.After.GetNamespace())
		} else if err != nil {
			return err
		}
	}
	return nil
}

// look reads a TidbCluster. Where there is none of that name, the nearest one is told.
func (a *app) look(ctx context.Context, c client.Reader, key types.NamespacedName) (*look.Cluster, error) {
	seen, err := look.Read(ctx, c, key)
	return seen, suggest(err)
}

// suggest adds to the error that there is no such TidbCluster the nearest name, or else all names
// that there are, unless it says where there is one.
func suggest(err error) error {
	missing, is := errors.AsType[*look.NotFound](err)
	switch {
	case !is || len(missing.Elsewhere) > 0 || len(missing.There) == 0:
		return err
	case len(nearest(missing.Key.Name, missing.There)) == 0:
		return fmt.Errorf("%w; there is %s", err, strings.Join(missing.There, ", "))
	default:
		return fmt.Errorf("%w%s", err, meant(missing.Key.Name, missing.There))
	}
}

// preview says what steps would do. The error says that it would be refused.
func (a *app) preview(seen *look.Cluster, steps []object.Step, w *writing) error {
	for _, text := range seen.Unseen {
		a.say("%s", text)
	}
	wanted := object.After(steps)
	if seen.Blind {
		for _, o := range wanted {
			a.say("%s %s: not judged here; the controller judges it", object.Kind(o), o.GetName())
		}
		return nil
	}
	all := preview.Of(seen.Input(a.Now()), wanted...)
	for i := range all {
		p := &all[i]
		p.Life.Message, p.Hidden = w.typed(p.Life.Message), seen.Hidden
		p.Down = down(seen, p.Holders)
		if steps[i].Action == object.Change {
			if err := p.Compare(steps[i].Before, func(field string) string { return w.typed("spec." + field) }); err != nil {
				return err
			}
		}
		if preview.IsInvalid(p.Life) {
			return refusal(p.Life, p.Broken, "nothing was changed")
		}
	}
	if i := slices.IndexFunc(wanted, seen.LacksZones); i >= 0 {
		a.say("%s %s goes by the zones of nodes: not judged here; the controller judges it", object.Kind(wanted[i]), wanted[i].GetName())
		return nil
	}
	if err := preview.Write(a.Out, all); err != nil {
		return err
	}
	for _, p := range all {
		if p.Life.Phase == v1alpha1.Refused {
			return refusal(p.Life, p.Broken, "nothing was changed")
		}
	}
	return nil
}

// down returns those of some pods whose agents don't run, as far as kubelet knows, each with how
// its agent is.
func down(seen *look.Cluster, pods []string) []string {
	var all []string
	for _, p := range seen.Pods {
		if agent, _ := container.Of(p.Pod); slices.Contains(pods, p.Name) && agent.Phase() == container.Down {
			all = append(all, fmt.Sprintf("%s (%s)", p.Name, agent.Word()))
		}
	}
	return all
}

// refusal is the error that an object is refused, and what became of that. The message of the
// refusal has been told, but for what can't be meant. broken are the rules of safety that refuse
// it, as far as they are known beside the reason.
func refusal(life v1alpha1.Life, broken []v1alpha1.Allowance, so string) error {
	if len(broken) == 0 {
		broken = []v1alpha1.Allowance{v1alpha1.Allowance(life.Reason)}
	}
	switch {
	case preview.IsUnsafe(life) && life.Reason == decide.ReasonProtected:
		return &failure{statusRefused, fmt.Errorf("refused by %s; %s", life.Reason, so)}
	case preview.IsUnsafe(life):
		return &failure{statusRefused, errors.New(preview.Refusal(broken, so))}
	case preview.IsInvalid(life):
		return usage("%s; %s", strings.TrimRight(preview.Message(life), "."), so)
	default:
		return fmt.Errorf("refused: %s; %s", life.Reason, so)
	}
}
