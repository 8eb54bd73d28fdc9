# Semivariances of nlme on Pearson residuals of its Wheat2 (Stroup et al. 1994): run by  Rscript variogram.R > variogram.txt
library(nlme)
options(digits = 12)
cat(R.version.string, "nlme", as.character(packageVersion("nlme")), "\n")
flat <- gls(yield ~ variety - 1, as.data.frame(Wheat2))
place <- ~ latitude + longitude
say <- function(name, v) for (k in seq_len(nrow(v))) cat(name, k, v$variog[k], v$n.pairs[k], "\n")
# nlme leaves out pairs at the lowest break: of the quantiles the first bin lacks some of the pairs at 1.2 m.
for (robust in c(FALSE, TRUE)) {
  tag <- if (robust) "robust" else "classical"
  say(paste0("quantiles_", tag), Variogram(flat, form = place, robust = robust))
  say(paste0("breaks_", tag), Variogram(flat, form = place, robust = robust, breaks = c(1, 2, 3, 5, 7, 10, 15, 22, 31, 50)))
}
