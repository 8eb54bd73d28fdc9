# nlme's pdSymm, which is the matrix logarithm too: its coefficients of given matrices, and fits of sleepstudy by it.
# Its output is pdsymm.txt.
suppressMessages(library(nlme))
data(sleepstudy, package = "lme4")
cat("#", R.version.string, "nlme", as.character(packageVersion("nlme")), "\n")
show <- function(name, x) cat(name, sprintf("%.12g", x), "\n")
A <- matrix(c(4, 1, 1, 3), 2)
B <- matrix(c(2, 0.5, -0.3, 0.5, 1, 0.2, -0.3, 0.2, 0.7), 3)
show("coef_A", coef(pdSymm(A)))
show("coef_B", coef(pdSymm(B)))
for (method in c("REML", "ML")) {
  fit <- lme(Reaction ~ Days, data = sleepstudy, random = list(Subject = pdSymm(~Days)), method = method,
             control = lmeControl(tolerance = 1e-10, msTol = 1e-12, niterEM = 100, msMaxIter = 500, maxIter = 500))
  show(paste0("criterion_", method), -2 * as.numeric(logLik(fit)))
  show(paste0("coef_", method), coef(fit$modelStruct$reStruct))
  show(paste0("sigma_", method), fit$sigma)
}
