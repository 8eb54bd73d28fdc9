# Reference values of nlme on its Wheat2 (Stroup et al. 1994): run by  Rscript wheat2.R > wheat2.txt
library(nlme)
options(digits = 12)
cat(R.version.string, "nlme", as.character(packageVersion("nlme")), "\n")
GC <- glsControl(maxIter = 500, msMaxIter = 1000, tolerance = 1e-9, msTol = 1e-12)
place <- ~ latitude + longitude
d <- as.data.frame(Wheat2)
flat <- gls(yield ~ variety - 1, d)

say <- function(name, fit, extra = NULL) {
  shape <- if (is.null(fit$modelStruct$corStruct)) NULL else coef(fit$modelStruct$corStruct, unconstrained = FALSE)
  cat("fit", name, "loglik", as.numeric(logLik(fit)), "sigma", fit$sigma, "shape", shape, extra, "\n")
}
say("independent", flat)
# With a nugget the exponential has no optimum on these data: its range grows without bound, and gls() fails.
say("exponential", update(flat, correlation = corExp(5, form = place), control = GC))
say("gaussian", update(flat, correlation = corGaus(2, form = place), control = GC))
say("rational", update(flat, correlation = corRatio(5, form = place), control = GC))
say("spherical", update(flat, correlation = corSpher(14, form = place), control = GC))
say("gaussian_nugget", update(flat, correlation = corGaus(c(10, 0.2), form = place, nugget = TRUE), control = GC))
say("rational_nugget", update(flat, correlation = corRatio(c(12.5, 0.2), form = place, nugget = TRUE), control = GC))
say("spherical_nugget", update(flat, correlation = corSpher(c(28, 0.2), form = place, nugget = TRUE), control = GC))
say("spherical_nugget_far", update(flat, correlation = corSpher(c(36, 0.2), form = place, nugget = TRUE), control = GC))

# Geometric anisotropy: coordinates are turned by the angle (degrees, anticlockwise from the axis of latitude), and the one
# across is divided by the ratio. nlme then fits an isotropic structure; optim profiles over ratio and angle. The range of the
# spherical runs away for some of them: it is held at 30, with a nugget of 0.2.
turned <- function(ratio, angle) {
  a <- angle * pi / 180
  d$along <- d$latitude * cos(a) + d$longitude * sin(a)
  d$across <- (-d$latitude * sin(a) + d$longitude * cos(a)) / ratio
  d
}
make <- list(
  exponential = function() corExp(8, form = ~ along + across),
  spherical = function() corSpher(c(30, 0.2), form = ~ along + across, nugget = TRUE, fixed = TRUE),
  gaussian = function() corGaus(c(20, 0.2), form = ~ along + across, nugget = TRUE))
at <- function(decay, ratio, angle) gls(yield ~ variety - 1, turned(ratio, angle), control = GC, correlation = make[[decay]]())
for (decay in names(make)) for (fixed in list(c(0.5, 0), c(0.4, 30), c(0.7, -50)))
  say(paste0("fixed_", decay), at(decay, fixed[1], fixed[2]), c("ratio", fixed[1], "angle", fixed[2]))
for (decay in c("exponential", "gaussian")) {
  off <- function(v) -as.numeric(logLik(at(decay, exp(v[1]), 90 * v[2])))
  found <- optim(c(log(0.6), 0.1), off, control = list(reltol = 1e-13, maxit = 400))
  say(paste0("free_", decay), at(decay, exp(found$par[1]), 90 * found$par[2]),
      c("ratio", exp(found$par[1]), "angle", 90 * found$par[2]))
}
