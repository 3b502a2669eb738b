package picture

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// write is a value in a unit of Grafana's.
func write(value float64, unit string) string {
	if math.IsNaN(value) {
		return "–"
	}
	if suffix, ok := strings.CutPrefix(unit, "suffix: "); ok {
		return scaled(value, 1000, "", "k", "M", "G", "T") + " " + suffix
	}
	switch unit {
	case "percentunit":
		return fmt.Sprintf("%.3g %%", value*100)
	case "bytes":
		return scaled(value, 1024, " B", " KiB", " MiB", " GiB", " TiB")
	case "Bps":
		return scaled(value, 1024, " B/s", " KiB/s", " MiB/s", " GiB/s", " TiB/s")
	case "cps":
		return scaled(value, 1000, " c/s", "k c/s", "M c/s", "G c/s", "T c/s")
	case "s":
		return seconds(value)
	case "dateTimeFromNow":
		return seconds(time.Since(time.UnixMilli(int64(value))).Seconds()) + " ago"
	case "none", "":
		if value != math.Trunc(value) {
			return fmt.Sprintf("%.3g", value)
		}
		return fmt.Sprintf("%.10g", value)
	default:
		return scaled(value, 1000, "", " K", " Mil", " Bil", " Tri")
	}
}

func scaled(value, step float64, suffixes ...string) string {
	i := 0
	for math.Abs(value) >= step && i < len(suffixes)-1 {
		value /= step
		i++
	}
	return fmt.Sprintf("%.3g", value) + suffixes[i]
}

func seconds(value float64) string {
	switch a := math.Abs(value); {
	case a == 0:
		return "0 s"
	case a < 1e-3:
		return fmt.Sprintf("%.3g µs", value*1e6)
	case a < 1:
		return fmt.Sprintf("%.3g ms", value*1e3)
	case a < 120:
		return fmt.Sprintf("%.3g s", value)
	case a < 7200:
		return fmt.Sprintf("%.3g min", value/60)
	case a < 172800:
		return fmt.Sprintf("%.3g h", value/3600)
	default:
		return fmt.Sprintf("%.3g d", value/86400)
	}
}
